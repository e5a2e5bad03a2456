/** Namespace Write Protection (FID 84h), as administrators set it under I/O, and look at it. */
import { getFeatures, setFeatures } from '../../src/initiator/commands.ts';
import type { Controller } from '../../src/initiator/controller.ts';
import type { Head } from '../../src/initiator/head.ts';
import { FeatureId, WriteProtectionState } from '../../src/nvme/features.ts';
import { SqeHead } from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { isOver } from './client.ts';
import type { HostMachine } from './host-machine.ts';
import type { SimRandom } from './random.ts';
import type { NamespaceState } from './target-machine.ts';
import type { World } from './world.ts';

const { None, Protected, UntilPowerCycle, Permanent } = WriteProtectionState;

/** Who asks, and of what. */
interface Asker {
  readonly world: World;
  readonly client: string;
  readonly host: HostMachine;
  readonly namespace: NamespaceState;
  readonly controller: Controller;
}

/** The controller of a path that works; undefined: there is none now. */
export const controllerOf = (head: Head): Controller | undefined =>
  head.paths.find(({ usable }) => usable)?.controller;

/** Mostly protected and not protected in turn; the states that nobody can leave are rare. */
export function drawProtection(random: SimRandom, some: number): number | 'look' {
  if (random.oneIn(4)) return 'look';
  if (some !== None && !random.oneIn(6)) return None;
  const dice = random.below(24);
  return dice === 0 ? Permanent : dice < 4 ? UntilPowerCycle : Protected;
}

/** Sets the state; `ended` is called once. */
export function setProtection(asker: Asker, to: number, ended: (status: number) => void): void {
  const { world, client, host, namespace, controller } = asker;
  const { protection, oracle, plan } = namespace;
  const id = world.nextOp();
  const start = world.clock.micros;
  const transport = controller.association?.admin?.transport;
  const wire = transport && world.net.wireOf(transport.local, transport.remote);
  let over = false;
  world.trace.note(`protect begins #${id} ${oracle.name}`, client, to);
  protection.begin(id, to, start, () => over && (wire === undefined || isOver(wire)));
  controller.admin(
    (request) => {
      setFeatures(request, FeatureId.WriteProtection, to);
      SqeHead.nsid.set(request.view, 0, plan.nsid);
    },
    ({ status }) => {
      over = true;
      world.trace.note(`protect ends #${id} ${oracle.name}`, client, status);
      const code = status & ~DNR;
      const now = world.clock.micros;
      if (code === 0) {
        protection.answered(id, 'kept', now);
        if (to !== None) oracle.settled(`write protection #${id}`, start);
      } else if (code === Status.FeatureNotChangeable) protection.answered(id, 'refused', now);
      else {
        const interrupted = code === Status.CommandInterrupted && protection.hadCompany(id);
        const excuses = host.excuses(world.machineOf(namespace));
        if (!interrupted) oracle.checkExcused(`write protection #${id}`, status, excuses, false, true);
        if (code !== Status.AbortedByHost) protection.undone(id);
      }
      ended(status);
    },
  );
}

/** Looks at it; `ended` is called once. */
export function lookAtProtection(asker: Asker, ended: (status: number) => void): void {
  const { world, client, host, namespace, controller } = asker;
  const { protection, oracle, plan } = namespace;
  const look = protection.look();
  controller.admin(
    (request) => getFeatures(request, FeatureId.WriteProtection, plan.nsid),
    ({ status, dw0 }) => {
      world.trace.note(`looks at the protection of ${oracle.name}`, client, status, dw0);
      protection.looked(look, status === 0 ? dw0 : undefined);
      if (status !== 0)
        oracle.checkExcused(
          'Get Features 84h',
          status,
          host.excuses(world.machineOf(namespace)),
          false,
          true,
        );
      ended(status);
    },
  );
}
