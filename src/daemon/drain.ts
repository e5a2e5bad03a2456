/**
 * Draining a port for planned maintenance: every group becomes inaccessible through it, so that hosts go over to their
 * other paths; when all have, nobody listens there any more. A host without another path keeps it from ending.
 */
import { refusal } from '../api/answer.ts';
import type { TargetControl } from '../api/target-control.ts';
import { drainPort, enablePort, portOf } from '../config/edit.ts';
import { AnaState } from '../nvme/ana-log.ts';
import type { Controller } from '../target/controller.ts';
import type { Caller } from './control-server.ts';

const LOOK = 250;

/** A host that still depends on the port. */
export interface Remaining {
  readonly host: string;
  readonly subsystem: string;
  readonly cntlid: number;
  /** Commands that are not answered yet. */
  readonly inFlight: number;
  readonly otherPath: boolean;
}

export interface Drained {
  readonly waited: number;
  /** Whose controllers were ended although they had nowhere to go. */
  readonly cut: readonly Remaining[];
}

/** Rejects with ETIMEDOUT, the port as before, when hosts remain after `patience` ms and `force` is not set. */
export async function drain(
  control: TargetControl,
  id: number,
  { patience, force }: { readonly patience: number; readonly force: boolean },
  { progress, gone }: Pick<Caller, 'progress' | 'gone'>,
): Promise<Drained> {
  const { env } = control;
  if (!portOf(control.wanted, id).enabled) throw refusal('EINVAL', `port ${id} is disabled`);
  await control.change((document) => ({ document: drainPort(id, true)(document) }));
  env.trace.event('info', `port ${id} drains: hosts are sent to their other paths`, {});
  const begin = env.clock.now();
  let left = remaining(control, id);
  // Whom it waits for is told before any time is over, however slow the machine is.
  let waited = 0;
  while (left.length > 0 && !gone.aborted && waited < patience) {
    progress({ remaining: left, left: Math.ceil(patience - waited) });
    await new Promise<void>((resolve) => void env.clock.timer('looks who is left on a port', LOOK, resolve));
    left = remaining(control, id);
    waited = Math.round(env.clock.now() - begin);
  }
  if (left.length > 0 && (gone.aborted || !force)) {
    await control.change((document) => ({ document: drainPort(id, false)(document) }));
    env.trace.event('warn', `port ${id} does not drain, and is as before`, {});
    throw refusal('ETIMEDOUT', `${left.map(remainingText).join('; ')}; port ${id} is as before`);
  }
  await control.change((document) => ({ document: enablePort(id, false)(document) }));
  env.trace.event('info', `port ${id} is drained and disabled`, { waited, cut: left.length });
  return { waited, cut: left };
}

const remainingText = ({ host, subsystem, inFlight, otherPath }: Remaining): string =>
  otherPath
    ? `${host} has ${inFlight} commands under way on ${subsystem}`
    : `${host} has no other path to ${subsystem}`;

function remaining({ target }: TargetControl, id: number): Remaining[] {
  const left: Remaining[] = [];
  for (const { nqn, controllers } of target.subsystems.values())
    for (const controller of controllers.values()) {
      if (controller.port.id !== id) continue;
      const inFlight = [...controller.ioQueues.values()].reduce(
        (sum, { outstanding }) => sum + outstanding,
        0,
      );
      const otherPath = [...controllers.values()].some((other) => isAnother(other, controller));
      if (inFlight > 0 || !otherPath)
        left.push({
          host: controller.hostnqn,
          subsystem: nqn,
          cntlid: controller.cntlid,
          inFlight,
          otherPath,
        });
    }
  return left;
}

/** The same host's, through another port, and good for every namespace that it has here. */
function isAnother(other: Controller, controller: Controller): boolean {
  if (other.port === controller.port || !other.ready) return false;
  if (other.hostnqn !== controller.hostnqn || other.ioQueues.size === 0) return false;
  return [...controller.attachments.values()].every(({ namespace }) => {
    const state = other.port.ana.state(namespace.anagrpid);
    return state === AnaState.Optimized || state === AnaState.NonOptimized;
  });
}
