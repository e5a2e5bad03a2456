/** Controller properties (NVMe Base 2.1, section 3.1.4), as structures of their own value. */
import { bits16, bits32 } from '../layout/bits.ts';
import { struct } from '../layout/struct.ts';
import { u16 } from '../layout/field.ts';

/** Offsets, as Property Get and Set name them. */
export const Property = {
  CAP: 0x00,
  VS: 0x08,
  CC: 0x14,
  CSTS: 0x1c,
  CRTO: 0x68,
} as const;

/** Bytes of each property. */
export const PROPERTY_SIZE: ReadonlyMap<number, 4 | 8> = new Map([
  [Property.CAP, 8],
  [Property.VS, 4],
  [Property.CC, 4],
  [Property.CSTS, 4],
  [Property.CRTO, 4],
]);

export const Cap = struct('Cap', 8, {
  mqes: [0, u16('Maximum Queue Entries Supported (MQES), 0’s based')],
  low: [2, bits16({ cqr: [0], ams: [1, 2], to: [8, 15] })],
  high: [
    4,
    bits32({
      dstrd: [0, 3],
      nssrs: [4],
      css: [5, 12],
      bps: [13],
      cps: [14, 15],
      mpsmin: [16, 19],
      mpsmax: [20, 23],
      pmrs: [24],
      cmbs: [25],
      nsss: [26],
      crwms: [27],
      crims: [28],
    }),
  ],
});

export const Cc = struct('Cc', 4, {
  cc: [
    0,
    bits32({
      en: [0],
      css: [4, 6],
      mps: [7, 10],
      ams: [11, 13],
      shn: [14, 15],
      iosqes: [16, 19],
      iocqes: [20, 23],
      crime: [24],
    }),
  ],
});
export const Csts = struct('Csts', 4, {
  csts: [0, bits32({ rdy: [0], cfs: [1], shst: [2, 3], nssro: [4], pp: [5], st: [6] })],
});
/** Shutdown Notification (CC.SHN) and Shutdown Status (CSTS.SHST). */
export const Shn = { none: 0, normal: 1, abrupt: 2 } as const;
export const Shst = { normal: 0, occurring: 1, complete: 2 } as const;

/** VS 2.1.0. */
export const VERSION_2_1 = 0x00020100;
export const VERSION_1_4 = 0x00010400;
