/** I/O commands by opcode (NVM Command Set 1.1, section 3; Base 2.1, section 7). */
import { IoOpcode } from '../nvme/opcode.ts';
import { compare, datasetManagement, flush, read, verify, write, writeZeroes } from './blocks.ts';
import { cancel } from './cancel.ts';
import { copy } from './copy.ts';
import type { Handler } from './handler.ts';
import {
  reservationAcquire,
  reservationRegister,
  reservationRelease,
  reservationReport,
} from './reservation-commands.ts';

export const IO: ReadonlyMap<number, Handler> = new Map([
  [IoOpcode.Flush, flush],
  [IoOpcode.Write, write],
  [IoOpcode.Read, read],
  [IoOpcode.Compare, compare],
  [IoOpcode.WriteZeroes, writeZeroes],
  [IoOpcode.DatasetManagement, datasetManagement],
  [IoOpcode.Verify, verify],
  [IoOpcode.ReservationRegister, reservationRegister],
  [IoOpcode.ReservationReport, reservationReport],
  [IoOpcode.ReservationAcquire, reservationAcquire],
  [IoOpcode.ReservationRelease, reservationRelease],
  [IoOpcode.Cancel, cancel],
  [IoOpcode.Copy, copy],
]);
