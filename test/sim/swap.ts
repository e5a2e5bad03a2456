/**
 * Compare and Write, and Compare alone, as a cluster file system uses them: straight on a queue, never repeated, as
 * their result changes when they are (GHOST.2). A swap that succeeds replaced a value that no other swap replaced.
 */
import { compare, fuse, readWrite } from '../../src/initiator/commands.ts';
import type { Head } from '../../src/initiator/head.ts';
import type { Queue } from '../../src/initiator/queue.ts';
import { Request } from '../../src/initiator/request.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { isOver } from './client.ts';
import type { Excuses } from './oracle.ts';
import type { NamespaceState } from './target-machine.ts';
import type { World } from './world.ts';

interface Swap {
  readonly namespace: NamespaceState;
  readonly hostid: string;
  readonly slba: number;
  /** Compare alone. */
  readonly only: boolean;
  /** Milliseconds for each command. */
  readonly timeout: number;
  readonly excuses: () => Excuses;
  readonly ended: (status: number) => void;
}

/** A queue that takes both commands of a pair one after the other: two slots at least. */
export function swapQueue(head: Head): Queue | undefined {
  for (const path of head.paths) {
    const queue = path.usable ? path.queues?.next(false) : undefined;
    if (queue !== undefined && queue.entries > 2) return queue;
  }
  return undefined;
}

/** Sends it on `queue`; `ended` is called once, when both commands are over. */
export function swap(world: World, client: string, queue: Queue, what: Swap): void {
  const { namespace, slba, only, timeout } = what;
  const { oracle } = namespace;
  const expected = oracle.expects(slba);
  const id = world.nextOp();
  const start = world.clock.micros;
  const op = oracle.begin(id, only ? 'read' : 'write', slba, 1, false, start);
  namespace.reservations.watch(op, what.hostid);
  namespace.protection.watch(op);
  const name = only ? 'compare' : 'swap';
  world.trace.note(`${name} begins #${id} ${oracle.name}`, client, slba, expected.value);
  const transport = queue.connection.transport;
  const wire = transport && world.net.wireOf(transport.local, transport.remote);
  let left = only ? 1 : 2;
  const owner = {
    requestDone: () => {
      if (--left === 0) over();
      else if (left < 0)
        world.violation('ONCE', `${name} #${id} of ${client} ended twice`, [client, `#${id} `]);
    },
  };
  const first = new Request(owner);
  compare(first, namespace.plan.nsid, slba, 1);
  first.add('out', expected.data);
  first.timeout = timeout;
  const second = new Request(owner);
  if (!only) {
    fuse(first, 1);
    readWrite(second, true, namespace.plan.nsid, slba, 1, false);
    fuse(second, 2);
    second.add('out', op.data);
    second.timeout = timeout;
  }
  if (op.change !== undefined) {
    op.change.over = () => left === 0 && (wire === undefined || isOver(wire));
    op.change.repeats = () => false;
  }
  const over = (): void => {
    const now = world.clock.micros;
    world.trace.note(`${name} ends #${id} ${oracle.name}`, client, first.status, second.status);
    op.sent = second.status !== Status.HostPathError;
    op.ways = 1;
    op.direct = true;
    oracle.swapped(
      op,
      expected.value,
      { compare: first.status & ~DNR, write: only ? undefined : second.status & ~DNR },
      now,
      what.excuses(),
    );
    what.ended(first.status);
  };
  if (!queue.submit(first)) {
    first.status = second.status = Status.HostPathError;
    left = 0;
    over();
  } else if (!only) queue.submit(second);
}
