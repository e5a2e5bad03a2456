/** Reservations, as cluster software uses them: straight from their commands, never repeated (GHOST.2). */
import { getFeatures, setFeatures, type RawCommand } from '../../src/initiator/commands.ts';
import type { Controller } from '../../src/initiator/controller.ts';
import type { Head } from '../../src/initiator/head.ts';
import { Io } from '../../src/initiator/io.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { FeatureId } from '../../src/nvme/features.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import {
  AcquireAction,
  AcquireData,
  ChangePtpl,
  RegisterAction,
  RegisterData,
  ReleaseAction,
  ReleaseData,
  ReservationAcquire,
  ReservationRegister,
  ReservationRelease,
  ReservationReport,
  decodeReservationReport,
} from '../../src/nvme/reservation.ts';
import { SqeHead } from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { isOver, watchWires } from './client.ts';
import { persistenceText, reportText, statusText, type Asked, type Held } from './reservation-model.ts';
import type { SimRandom } from './random.ts';
import type { HostMachine } from './host-machine.ts';
import type { NamespaceState } from './target-machine.ts';
import type { World } from './world.ts';

/** Room for the report of that many registrants. */
const REGISTRANTS = 8;

/** Two keys for each host; the second one now and then. */
const keyOf = (host: number, second: boolean): bigint => BigInt(host * 16 + (second ? 2 : 1));

/** What a host asks for, from what may be held: mostly what makes sense, with its own key and that of another. */
export function drawAction(random: SimRandom, me: number, hostid: string, held: Held): Asked {
  const known = held.keys.get(hostid);
  const crkey = known === undefined || random.oneIn(12) ? keyOf(me, random.oneIn(6)) : known;
  const ptpl = random.pick([undefined, true, true, false]);
  const rtype = random.between(1, 6);
  const others = [...held.keys].filter(([host]) => host !== hostid).map(([, key]) => key);
  const drawn = random.below(20);
  if (drawn < 4 || (known === undefined && drawn < 15)) return { name: 'register', nrkey: crkey, ptpl };
  if (drawn < 5) return { name: 'unregister', crkey, ignoreKey: false };
  if (drawn < 6)
    return { name: 'replace', crkey, nrkey: keyOf(me, random.oneIn(2)), ignoreKey: random.oneIn(3), ptpl };
  if (drawn < 11) return { name: 'acquire', crkey, rtype };
  if (drawn < 15) {
    const prkey = others.length === 0 || random.oneIn(6) ? 0n : random.pick(others);
    return { name: 'preempt', crkey, prkey, rtype, abort: random.oneIn(2) };
  }
  if (drawn < 17) return { name: 'release', crkey, rtype: random.oneIn(6) ? rtype : held.type };
  return drawn < 18 ? { name: 'clear', crkey } : { name: 'report' };
}

function encode(action: Asked): { opcode: number; sqe: Uint8Array; data: Uint8Array } {
  const ptpl = (wanted: boolean | undefined): number =>
    wanted === undefined ? ChangePtpl.Keep : wanted ? ChangePtpl.Set : ChangePtpl.Clear;
  const register = (rrega: number, crkey: bigint, nrkey: bigint, iekey: boolean, cptpl: number) => ({
    opcode: IoOpcode.ReservationRegister,
    sqe: ReservationRegister.bytes({ cdw10: { rrega, iekey: iekey ? 1 : 0, cptpl } }),
    data: RegisterData.bytes({ crkey, nrkey }),
  });
  const acquire = (racqa: number, crkey: bigint, prkey: bigint, rtype: number) => ({
    opcode: IoOpcode.ReservationAcquire,
    sqe: ReservationAcquire.bytes({ cdw10: { racqa, rtype } }),
    data: AcquireData.bytes({ crkey, prkey }),
  });
  const release = (rrela: number, crkey: bigint, rtype: number) => ({
    opcode: IoOpcode.ReservationRelease,
    sqe: ReservationRelease.bytes({ cdw10: { rrela, rtype } }),
    data: ReleaseData.bytes({ crkey }),
  });
  switch (action.name) {
    case 'register':
      return register(RegisterAction.Register, 0n, action.nrkey, false, ptpl(action.ptpl));
    case 'unregister':
      return register(RegisterAction.Unregister, action.crkey, 0n, action.ignoreKey, ptpl(action.ptpl));
    case 'replace':
      return register(
        RegisterAction.Replace,
        action.crkey,
        action.nrkey,
        action.ignoreKey,
        ptpl(action.ptpl),
      );
    case 'acquire':
      return acquire(AcquireAction.Acquire, action.crkey, 0n, action.rtype);
    case 'preempt':
      return acquire(
        action.abort ? AcquireAction.PreemptAndAbort : AcquireAction.Preempt,
        action.crkey,
        action.prkey,
        action.rtype,
      );
    case 'release':
      return release(ReleaseAction.Release, action.crkey, action.rtype);
    case 'clear':
      return release(ReleaseAction.Clear, action.crkey, 0);
    default: {
      const data = new Uint8Array(64 + 64 * REGISTRANTS);
      const sqe = ReservationReport.bytes({ numd: data.length / 4, cdw11: { eds: 1 } });
      return { opcode: IoOpcode.ReservationReport, sqe, data };
    }
  }
}

/** Asks for it on the head; `ended` is called once, with the status. */
export function reserve(
  world: World,
  client: string,
  host: HostMachine,
  namespace: NamespaceState,
  head: Head,
  action: Asked,
  ended: (status: number) => void,
): void {
  const { reservations, oracle } = namespace;
  const id = world.nextOp();
  const { opcode, sqe, data } = encode(action);
  const view = viewOf(sqe);
  const report = action.name === 'report';
  const command: RawCommand = {
    opcode,
    dwords: Array.from({ length: 6 }, (_, i) => view.getUint32(40 + 4 * i, true)),
    direction: report ? 'in' : 'out',
    changes: !report,
    repeatable: report,
  };
  world.trace.note(`${action.name} begins #${id} ${oracle.name}`, client);
  let calls = 0;
  const done = (): void => {
    if (++calls > 1) world.violation('ONCE', `${action.name} #${id} of ${client} ended twice`, [client]);
    world.trace.note(`${action.name} ends #${id} ${oracle.name}`, client, io.status);
    const code = io.status & ~DNR;
    const excuses = host.excuses(world.machineOf(namespace));
    const now = world.clock.micros;
    if (code === 0 && report) reservations.answered(id, reportText(decodeReservationReport(data)), now);
    else if (code === 0 || code === Status.ReservationConflict || code === Status.InvalidField)
      reservations.answered(id, statusText(code), now);
    else {
      oracle.checkExcused(`${action.name} #${id}`, io.status, excuses, reservations.aborted);
      if (report || !io.sent || (code !== Status.HostPathError && code !== Status.AbortedByHost))
        reservations.refused(id);
    }
    ended(io.status);
  };
  const io = new Io({ ioDone: done }, 'command', { command, buffers: [data] });
  const { wires } = watchWires(world, io);
  reservations.begin(id, host.hostid, action, () => calls > 0 && [...wires].every(isOver));
  head.submit(io);
}

type Persistence = Extract<Asked, { name: 'persist' | 'persistence' }>;

/** Persist Through Power Loss set for the whole namespace, by whoever administers it, or looked at. */
export function drawPersistence(random: SimRandom): Persistence {
  return random.oneIn(3) ? { name: 'persistence' } : { name: 'persist', ptpl: !random.oneIn(3) };
}

/** Reservation Persistence (FID 83h) on the admin queue of a controller; `ended` is called once, with the status. */
export function persist(
  world: World,
  client: string,
  host: HostMachine,
  namespace: NamespaceState,
  controller: Controller,
  action: Persistence,
  ended: (status: number) => void,
): void {
  const { reservations, oracle, plan } = namespace;
  const id = world.nextOp();
  const transport = controller.association?.admin?.transport;
  const wire = transport && world.net.wireOf(transport.local, transport.remote);
  let calls = 0;
  world.trace.note(`${action.name} begins #${id} ${oracle.name}`, client);
  reservations.begin(id, host.hostid, action, () => calls > 0 && (wire === undefined || isOver(wire)));
  controller.admin(
    (request) => {
      if (action.name === 'persist')
        setFeatures(request, FeatureId.ReservationPersistence, action.ptpl ? 1 : 0);
      else getFeatures(request, FeatureId.ReservationPersistence, plan.nsid);
      SqeHead.nsid.set(request.view, 0, plan.nsid);
    },
    ({ status, dw0 }) => {
      if (++calls > 1) world.violation('ONCE', `${action.name} #${id} of ${client} ended twice`, [client]);
      world.trace.note(`${action.name} ends #${id} ${oracle.name}`, client, status, dw0);
      const now = world.clock.micros;
      if (status === 0)
        reservations.answered(id, action.name === 'persist' ? statusText(0) : persistenceText(dw0), now);
      else {
        const excuses = host.excuses(world.machineOf(namespace));
        oracle.checkExcused(`${action.name} #${id}`, status, excuses, false, true);
        if ((status & ~DNR) !== Status.AbortedByHost) reservations.refused(id);
      }
      ended(status);
    },
  );
}
