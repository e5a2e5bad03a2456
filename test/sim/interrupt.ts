/**
 * Commands that their own host takes back: a read or a write straight on a queue, and behind it an Abort (Base 2.1,
 * section 5.1.1) or a Cancel (section 7.1). What was aborted was not done; what was not is as good as any other.
 */
import { abort, readWrite } from '../../src/initiator/commands.ts';
import type { Controller } from '../../src/initiator/controller.ts';
import type { Head } from '../../src/initiator/head.ts';
import type { Queue } from '../../src/initiator/queue.ts';
import { Request } from '../../src/initiator/request.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import { Cancel, SqeHead } from '../../src/nvme/sqe.ts';
import { DNR, IoStatus, Status } from '../../src/nvme/status.ts';
import { SCRIBBLE, isOver } from './client.ts';
import type { HostMachine } from './host-machine.ts';
import { ONE_COMMAND } from './oracle.ts';
import type { SimRandom } from './random.ts';
import type { NamespaceState } from './target-machine.ts';
import type { World } from './world.ts';

const ALL_NAMESPACES = 0xffffffff;
/** `odd`: a Cancel of all commands that names one of them. */
const WAYS = ['abort', 'abort', 'cancel', 'cancel', 'cancel all', 'odd'] as const;
type How = (typeof WAYS)[number];

interface Place {
  readonly controller: Controller;
  readonly queue: Queue;
}

/** What came of the attempt: dword 0 of an Abort or Cancel that the target answered with 0. */
interface Answer {
  readonly how: How;
  readonly now: number;
  readonly later: number;
  /** It met this command: the CID was not another's by then. */
  readonly met: boolean;
}

function placeOn(head: Head): Place | undefined {
  for (const { usable, controller, queues } of head.paths) {
    const queue = usable ? queues?.next(false) : undefined;
    if (queue !== undefined) return { controller, queue };
  }
  return undefined;
}

/** Sends a command and takes it back; `ended` is called once, when both are over. False: no path takes it now. */
export function interrupt(
  world: World,
  client: string,
  host: HostMachine,
  namespace: NamespaceState,
  head: Head,
  random: SimRandom,
  ended: (status: number) => void,
): boolean {
  const place = placeOn(head);
  if (place === undefined) return false;
  const { queue } = place;
  const { oracle, plan } = namespace;
  const { nsid, blockSize } = plan;
  const size = Math.min(head.blocks, oracle.blocks);
  const blocks = 1 + random.below(Math.min(size, world.plan.ioBlocks, ONE_COMMAND / blockSize));
  const slba = random.below(size - blocks + 1);
  const kind = random.oneIn(4) ? 'read' : 'write';
  const fua = random.oneIn(4);
  const how = random.pick(WAYS);
  const delay = random.pick([0, 100, 1000, 20_000]);

  const id = world.nextOp();
  const op = oracle.begin(id, kind, slba, blocks, fua, world.clock.micros);
  const name = `${kind} #${id} of ${client}`;
  namespace.reservations.watch(op, host.hostid);
  namespace.protection.watch(op);
  world.trace.note(`${kind} begins #${id} ${oracle.name}`, client, slba, blocks);
  const transport = queue.connection.transport;
  const wire = transport && world.net.wireOf(transport.local, transport.remote);
  const excuses = () => host.excuses(world.machineOf(namespace));

  let calls = 0;
  let answer: Answer | undefined;
  let asking = true;
  const settle = (): void => {
    if (calls === 0 || asking) return;
    if (answer !== undefined) checkAnswer(world, name, request.status, answer, queue);
    ended(request.status);
  };
  const request = new Request({
    requestDone: ({ status }) => {
      if (++calls > 1) {
        world.violation('ONCE', `${name} ended twice`, [client, `#${id} `]);
        return;
      }
      world.trace.note(`${kind} ends #${id} ${oracle.name}`, client, status);
      op.sent = status !== Status.HostPathError;
      op.ways = 1;
      op.direct = true;
      oracle.end(op, status, world.clock.micros, excuses(), false);
      op.data.fill(SCRIBBLE);
      if (kind === 'read') world.returned.push(op);
      settle();
    },
  });
  readWrite(request, kind === 'write', nsid, slba, blocks, fua);
  request.add(kind === 'write' ? 'out' : 'in', op.data);
  request.timeout = head.limits.ioTimeout;
  if (op.change !== undefined) {
    op.change.over = () => calls > 0 && (wire === undefined || isOver(wire));
    op.change.repeats = () => false;
  }
  if (!queue.submit(request)) {
    request.status = Status.HostPathError;
    asking = false;
    request.owner.requestDone(request);
    return true;
  }
  world.clock.after(`${client} takes #${id} back`, delay, () => {
    // One that waits for a slot has no CID yet.
    const cid = request.place === 'waiting' ? undefined : SqeHead.cid.get(request.view, 0);
    const { controller } = place;
    const gone = controller.state.is('dead') || !controller.ioConnections.includes(queue.connection);
    if (cid === undefined || gone) {
      asking = false;
      settle();
      return;
    }
    host.aborts++;
    const all = random.oneIn(4) ? ALL_NAMESPACES : nsid;
    const inTime = calls === 0;
    const sent = takeBack(world, place, { how, cid, nsid: how === 'cancel all' ? all : nsid }, (told) => {
      world.trace.note(`${how} of #${id} ends`, client, told.status, told.dw0);
      // The CID of a command that is over may be this Cancel's own.
      const refused =
        how === 'odd'
          ? told.status === (Status.InvalidField | DNR)
          : !inTime && told.status === (IoStatus.InvalidCommandId | DNR);
      if (how === 'odd' && told.status === 0)
        world.violation('CANCEL', `${name}: a Cancel of all commands that names one succeeded`, [`#${id} `]);
      else if (told.status !== 0 && !refused)
        oracle.checkExcused(`${how} of #${id}`, told.status, excuses(), false, true);
      if (told.status === 0)
        answer =
          how === 'abort'
            ? { how, now: (told.dw0 & 1) === 0 ? 1 : 0, later: 0, met: calls === 0 }
            : { how, now: told.dw0 & 0xffff, later: told.dw0 >>> 16, met: inTime && sent };
      asking = false;
      settle();
    });
  });
  return true;
}

/** True: it went behind the command, on the same connection. */
function takeBack(
  world: World,
  { controller, queue }: Place,
  { how, cid, nsid }: { readonly how: How; readonly cid: number; readonly nsid: number },
  done: (told: Request) => void,
): boolean {
  if (how === 'abort') {
    controller.admin((request) => abort(request, queue.qid, cid), done);
    return false;
  }
  const request = new Request({ requestDone: done });
  const { view } = request;
  request.begin(IoOpcode.Cancel);
  SqeHead.nsid.set(view, 0, nsid);
  Cancel.sqid.set(view, 0, queue.qid);
  Cancel.cancelCid.set(view, 0, how === 'cancel all' ? 0xffff : cid);
  if (how === 'cancel all' || how === 'odd') Cancel.cdw11.acode.set(view, 0, 1);
  request.timeout = controller.limits.ioTimeout;
  if (queue.submit(request)) return request.place === 'sent';
  request.status = Status.HostPathError;
  world.clock.defer(() => done(request));
  return false;
}

/** What was said of the command against how it ended. */
function checkAnswer(world: World, name: string, status: number, answer: Answer, queue: Queue): void {
  const { how, now, later, met } = answer;
  const wrong = (text: string): void =>
    world.violation('CANCEL', `${name}: ${how} said ${now} now and ${later} later, ${text}`, [
      `${name.split(' ')[1]!} `,
    ]);
  if (how === 'cancel all') {
    if (now + later > queue.entries - 1) wrong(`of a queue of ${queue.entries} entries`);
    return;
  }
  if (now + later > 1) wrong('of one command');
  else if (met && now + later === 1 && status === 0) wrong('but it succeeded');
}
