/**
 * Reservations of a disk (NVMe Base 2.1, section 8.1.22), as this host sees and asks for them. They belong to its Host
 * Identifier: every controller of the host has them, and they stay when it is gone.
 */
import type { RawCommand } from '../initiator/commands.ts';
import { viewOf } from '../layout/struct.ts';
import { IoOpcode } from '../nvme/opcode.ts';
import {
  AcquireAction,
  AcquireData,
  ChangePtpl,
  RegisterAction,
  RegisterData,
  RegistrantEntryExtended,
  ReleaseAction,
  ReleaseData,
  ReservationAcquire,
  ReservationRegister,
  ReservationRelease,
  ReservationReport,
  ReservationStatusExtended,
  decodeReservationReport,
  type ReservationReportData,
} from '../nvme/reservation.ts';
import type { IoOptions } from './disk.ts';

export interface RegisterOptions extends IoOptions {
  /** Registrations and reservations of the namespace survive a power loss, or do not; as it was, if not given. */
  readonly ptpl?: boolean | undefined;
}
export interface PreemptOptions extends IoOptions {
  /** The commands of the hosts that lose their registration are aborted first. */
  readonly abort?: boolean | undefined;
}

/** How the disk sends a command with this data. */
export type SendCommand = (command: RawCommand, data: Uint8Array, options: IoOptions) => Promise<unknown>;

/** Registrants in the first attempt to read a report. */
const FEW = 63;

/**
 * Every method rejects with an NvmeError; status 083h is Reservation Conflict. A command that changes something is
 * never repeated blindly: when its path is lost meanwhile, it rejects with OUTCOME_UNKNOWN, and `report` tells.
 */
export class DiskReservations {
  readonly #send: SendCommand;

  /** Made by the disk. */
  constructor(send: SendCommand) {
    this.#send = send;
  }

  /** Registers this host with a key, which is not 0. */
  async register(key: bigint, options: RegisterOptions = {}): Promise<void> {
    await this.#register(RegisterAction.Register, 0n, key, options);
  }

  async unregister(key: bigint, options: RegisterOptions = {}): Promise<void> {
    await this.#register(RegisterAction.Unregister, key, 0n, options);
  }

  async replaceKey(key: bigint, by: bigint, options: RegisterOptions = {}): Promise<void> {
    await this.#register(RegisterAction.Replace, key, by, options);
  }

  /** `type`: one of `ReservationType`; `key`: with which this host is registered. */
  async acquire(key: bigint, type: number, options: IoOptions = {}): Promise<void> {
    await this.#acquire(AcquireAction.Acquire, key, 0n, type, options);
  }

  /** Takes the registrations with `victim`'s key, and the reservation if that is its holder's. */
  async preempt(key: bigint, victim: bigint, type: number, options: PreemptOptions = {}): Promise<void> {
    const action = options.abort === true ? AcquireAction.PreemptAndAbort : AcquireAction.Preempt;
    await this.#acquire(action, key, victim, type, options);
  }

  async release(key: bigint, type: number, options: IoOptions = {}): Promise<void> {
    await this.#release(ReleaseAction.Release, key, type, options);
  }

  /** Takes the reservation and every registration. */
  async clear(key: bigint, options: IoOptions = {}): Promise<void> {
    await this.#release(ReleaseAction.Clear, key, 0, options);
  }

  async report(options: IoOptions = {}): Promise<ReservationReportData> {
    for (let room = FEW; ;) {
      const { total, ...report } = decodeReservationReport(await this.#report(room, options));
      if (total <= room) return report;
      // Some more, as others may register meanwhile.
      room = total + FEW;
    }
  }

  #register(rrega: number, crkey: bigint, nrkey: bigint, options: RegisterOptions): Promise<void> {
    const cptpl =
      options.ptpl === undefined ? ChangePtpl.Keep : options.ptpl ? ChangePtpl.Set : ChangePtpl.Clear;
    const sqe = ReservationRegister.bytes({ cdw10: { rrega, cptpl } });
    return this.#change(IoOpcode.ReservationRegister, sqe, RegisterData.bytes({ crkey, nrkey }), options);
  }

  #acquire(racqa: number, crkey: bigint, prkey: bigint, rtype: number, options: IoOptions): Promise<void> {
    const sqe = ReservationAcquire.bytes({ cdw10: { racqa, rtype } });
    return this.#change(IoOpcode.ReservationAcquire, sqe, AcquireData.bytes({ crkey, prkey }), options);
  }

  #release(rrela: number, crkey: bigint, rtype: number, options: IoOptions): Promise<void> {
    const sqe = ReservationRelease.bytes({ cdw10: { rrela, rtype } });
    return this.#change(IoOpcode.ReservationRelease, sqe, ReleaseData.bytes({ crkey }), options);
  }

  async #change(opcode: number, sqe: Uint8Array, data: Uint8Array, options: IoOptions): Promise<void> {
    const dwords = dwordsOf(sqe);
    await this.#send({ opcode, dwords, direction: 'out', changes: true, repeatable: false }, data, options);
  }

  async #report(room: number, options: IoOptions): Promise<Uint8Array> {
    const data = new Uint8Array(ReservationStatusExtended.size + room * RegistrantEntryExtended.size);
    const sqe = ReservationReport.bytes({ numd: data.length / 4, cdw11: { eds: 1 } });
    const command: RawCommand = {
      opcode: IoOpcode.ReservationReport,
      dwords: dwordsOf(sqe),
      direction: 'in',
      changes: false,
      repeatable: true,
    };
    await this.#send(command, data, options);
    return data;
  }
}

/** Command Dwords 10 to 15. */
function dwordsOf(sqe: Uint8Array): number[] {
  const view = viewOf(sqe);
  return Array.from({ length: 6 }, (_, i) => view.getUint32(40 + 4 * i, true));
}
