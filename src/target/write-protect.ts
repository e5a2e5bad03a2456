/**
 * Namespace Write Protection (FID 84h; NVMe Base 2.1, section 8.1.16). Protecting closes the gates, lets the changes
 * that are under way end, puts everything on stable storage and remembers the state; only then is the host answered.
 * "Until power cycle" is until the target starts again.
 */
import { WriteProtectionState } from '../nvme/features.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { IoDone, IoError } from '../runtime/ports.ts';
import { Operation } from '../storage/operation.ts';
import type { Namespace } from './namespace.ts';

const { None, Protected, UntilPowerCycle, Permanent } = WriteProtectionState;

/** The state that was kept; RangeError when it cannot have been. */
export function protectionOf(facts: unknown): number {
  if (facts === undefined) return None;
  if (facts === Protected || facts === Permanent) return facts;
  throw new RangeError('its write protection is neither 1 nor 3');
}

/** With what a change from one state to another is refused, or 0. */
export function changeRefusal(from: number, to: number): number {
  if (to > Permanent) return Status.InvalidField | DNR;
  const ends = from !== UntilPowerCycle && from !== Permanent;
  return ends || from === to ? 0 : Status.FeatureNotChangeable | DNR;
}

/** Brings the namespace into state `to`; `done` gets the status. */
export function protect(namespace: Namespace, to: number, done: (status: number) => void): void {
  const from = namespace.protection;
  // Somebody is changing it, and may fail: the host asks again, also for the same state.
  if (namespace.protecting) {
    done(Status.CommandInterrupted);
    return;
  }
  const refused = changeRefusal(from, to);
  if (refused !== 0 || from === to) {
    done(refused);
    return;
  }
  namespace.protecting = true;
  const end = (state: number, status: number): void => {
    namespace.protecting = false;
    namespace.protection = state;
    namespace.update();
    if (status === 0 && !namespace.removed) namespace.subsystem.changed(namespace);
    done(status);
  };
  const saved: IoDone = (error) => {
    if (error === undefined) end(to, 0);
    else {
      keep(namespace, from);
      end(from, Status.InternalError);
    }
  };
  if (to === None) {
    save(namespace, to, saved);
    return;
  }
  // From here on nothing new is let through; what is let through again, if this fails, is no harm.
  namespace.protection = to;
  namespace.update();
  settle(namespace, (error) => {
    if (error !== undefined) end(from, namespace.statusOf(error, 'flush'));
    else if (namespace.removed) end(to, Status.InvalidNamespace | DNR);
    else save(namespace, to, saved);
  });
}

function keep(namespace: Namespace, state: number): void {
  if (state === Protected || state === Permanent) namespace.facts.writeProtect = state;
  else delete namespace.facts.writeProtect;
}

function save(namespace: Namespace, state: number, done: IoDone): void {
  keep(namespace, state);
  namespace.saveFacts(done);
}

/** Waits for every change that is under way, also in a volume that is just being closed, then for a sync. */
function settle(namespace: Namespace, done: (error: IoError | undefined) => void): void {
  const { volume } = namespace;
  if (volume === undefined) {
    namespace.whenClosed(() => done(undefined));
    return;
  }
  if (volume.readOnly || volume.size === 0) {
    done(undefined);
    return;
  }
  const barrier = new Operation({ operationDone: ({ error }) => done(error) });
  barrier.kind = 'barrier';
  barrier.length = volume.size;
  volume.submit(barrier);
}
