/** What the reservations of a namespace have around them: its facts, its attachments, and the commands on it. */
import type { Namespace } from './namespace.ts';
import type { Notice } from './reservation.ts';
import type { ReservationPlace } from './reservations.ts';

export function reservationPlace(namespace: Namespace): ReservationPlace {
  const { subsystem, nsid } = namespace;
  const { env, limits } = subsystem.target;
  return {
    env,
    limits,
    name: `namespace ${nsid} of ${subsystem.nqn}`,
    get removed() {
      return namespace.removed;
    },
    save(facts, done) {
      const before = namespace.facts.reservation;
      namespace.facts.reservation = facts;
      namespace.saveFacts((error) => {
        if (error !== undefined) namespace.facts.reservation = before;
        done(error);
      });
    },
    changed() {
      namespace.update();
    },
    notify(notice) {
      notify(namespace, notice);
    },
    abort(hosts, done) {
      abort(namespace, hosts, done);
    },
  };
}

/** On every controller of the host that has the namespace, unless it masks notifications of this type. */
function notify({ attachments, nsid }: Namespace, { hostid, type }: Notice): void {
  for (const { controller } of attachments.values())
    if (controller.hostid === hostid) controller.reservationNotice(nsid, type);
}

/**
 * Ends the commands of these hosts on the namespace, whichever connection they came through: also those of associations
 * that are gone already, whose commands may still be with storage (GHOST.1). Storage bounds how long that takes; nothing
 * here waits for a host.
 */
function abort(namespace: Namespace, hosts: ReadonlySet<string>, done: () => void): void {
  let left = 1;
  const over = (): void => {
    if (--left === 0) done();
  };
  const wait = (): (() => void) => {
    left++;
    return over;
  };
  for (const { queue } of [...namespace.subsystem.target.ports.connections()]) {
    const { controller } = queue;
    if (controller === undefined || controller.subsystem !== namespace.subsystem) continue;
    if (hosts.has(controller.hostid)) queue.stopping.preempt(namespace, wait);
  }
  over();
}
