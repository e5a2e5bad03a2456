/** Rules of one I/O that hold at every moment: how it is handed to a path, and how a command of it ends. */
import type { Connection } from '../../src/initiator/connection.ts';
import type { Io } from '../../src/initiator/io.ts';
import type { Request } from '../../src/initiator/request.ts';
import { Status } from '../../src/nvme/status.ts';
import type { Wire } from './wire.ts';
import type { World } from './world.ts';

/** Looks at every command of the I/O, from the moment that a path took it. Before the I/O is submitted. */
export function watchIo(world: World, io: Io, about: string): void {
  const taken = new Map<Request, Connection | undefined>();
  const broken = (rule: string, text: string): void =>
    world.violation(rule, `${about}: ${text}`, [`${about} `]);
  const push = io.running.push.bind(io.running);
  io.running.push = (...requests) => {
    for (const request of requests) {
      taken.set(request, request.queue?.connection);
      const problem = handoverProblem(io, request);
      if (problem !== undefined) broken('QUIESCE.1', problem);
    }
    return push(...requests);
  };
  const requestDone = io.requestDone.bind(io);
  io.requestDone = (request) => {
    const connection = taken.get(request);
    taken.delete(request);
    if (request.status === Status.AbortedByHost && connection !== undefined) {
      const problem = cancelProblem(world, io, request, connection);
      if (problem !== undefined) broken('QUIESCE.14', problem);
    }
    requestDone(request);
  };
}

/** QUIESCE.1: a path that was chosen has the command at once, and both are of the present association. */
function handoverProblem({ head }: Io, { path, queue, association }: Request): string | undefined {
  if (path === undefined || queue === undefined) return 'a command was made, and no path has it';
  const { controller, name } = path;
  if (!path.usable || head?.paths.includes(path) !== true)
    return `handed to ${name}, which is ${path.is} when it gets it`;
  if (association?.open !== true || !association.io.includes(queue.connection))
    return `handed to a connection of ${controller.name} that is not of its association`;
  return undefined;
}

/** After it was submitted: it is over, under way, or waits where it is found again. */
export function submitProblem({ over, head, running, waiting }: Io): string | undefined {
  if (over || running.length > 0 || waiting > 0 || head?.outlook === 'requeue') return undefined;
  return 'submitted, and neither a path nor a list has it';
}

/** HEAD.6: while its head waits for a path, an I/O that was never sent waits too. */
export function endProblem({ status, sent, abandoned, head }: Io): string | undefined {
  const waits = head?.state.is('orphaned') === true && head.outlook === 'requeue';
  if (status !== Status.HostPathError || sent || abandoned || !waits) return undefined;
  return `failed, though ${head.name} waits for a path`;
}

/**
 * QUIESCE.14: what error recovery cancels ends when its connection is dead on our side, by a reset if anything might
 * still be delivered; and whatever cancelled it, the socket has no data of it any more.
 */
function cancelProblem(
  world: World,
  io: Io,
  { parts, direction }: Request,
  { transport, name }: Connection,
): string | undefined {
  const wire: Wire | undefined = transport && world.net.wireOf(transport.local, transport.remote);
  if (wire === undefined) return undefined;
  const { client } = wire;
  if (direction === 'out' && client.out.has(parts)) return `${name} has data of a command that ended`;
  if (io.abandoned && !client.over) return undefined;
  world.mark('QUIESCE.14 a command was cancelled');
  if (!client.over) return `${name} is not dead yet, and a command of it ended`;
  if (client.out.last === 'end' && client.out.buffered > 0)
    return `${name} was closed politely, and may still deliver ${client.out.buffered} bytes`;
  return undefined;
}
