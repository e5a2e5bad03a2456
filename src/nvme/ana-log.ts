/** The Asymmetric Namespace Access log, LID 0Ch (NVMe Base 2.1, sections 5.1.12.1.13 and 8.1.1). */
import { bits8 } from '../layout/bits.ts';
import { reserved, u16, u32, u53 } from '../layout/field.ts';
import { struct, viewOf } from '../layout/struct.ts';
import { DecodeError } from './decode-error.ts';

export const AnaState = {
  Optimized: 1,
  NonOptimized: 2,
  Inaccessible: 3,
  PersistentLoss: 4,
  Change: 0xf,
} as const;
export type AnaState = (typeof AnaState)[keyof typeof AnaState];

const NAMES: ReadonlyMap<number, string> = new Map([
  [AnaState.Optimized, 'optimized'],
  [AnaState.NonOptimized, 'non-optimized'],
  [AnaState.Inaccessible, 'inaccessible'],
  [AnaState.PersistentLoss, 'persistent-loss'],
  [AnaState.Change, 'change'],
]);
/** With the words that nvme-cli prints. */
export const anaStateName = (state: number): string => NAMES.get(state) ?? `ANA state ${state.toString(16)}h`;
export const isAnaState = (state: number): state is AnaState => NAMES.has(state);

export const AnaLogHeader = struct('AnaLogHeader', 16, {
  chgcnt: [0, u53('Change Count (CHGCNT)')],
  nagd: [8, u16('Number of ANA Group Descriptors (NAGD)')],
  rsvd10: [10, reserved(6)],
});
/** NNSIDV NSIDs of 32 bits follow. */
export const AnaGroupDescriptor = struct('AnaGroupDescriptor', 32, {
  agid: [0, u32('ANA Group ID (AGID)')],
  nnsidv: [4, u32('Number of NSID Values (NNSIDV)')],
  chgcnt: [8, u53('Change Count (CHGCNT)')],
  anas: [16, bits8({ anas: [0, 3] }, 'Asymmetric Namespace Access State (ANAS)')],
  rsvd17: [17, reserved(15)],
});

export interface AnaGroup {
  readonly agid: number;
  readonly chgcnt: number;
  readonly state: AnaState;
  /** In increasing order; empty with RGO. */
  readonly nsids: readonly number[];
}
export interface AnaLog {
  readonly chgcnt: number;
  readonly groups: readonly AnaGroup[];
}

/** Bytes of a log with so many groups and, over all of them, namespaces. */
export const anaLogSize = (groups: number, nsids: number): number =>
  AnaLogHeader.size + groups * AnaGroupDescriptor.size + 4 * nsids;

/** With `groupsOnly` (RGO, bit 0 of LSP) no namespaces are listed. */
export function encodeAnaLog(log: AnaLog, groupsOnly: boolean): Uint8Array {
  const nsids = groupsOnly ? 0 : log.groups.reduce((sum, group) => sum + group.nsids.length, 0);
  const made = new Uint8Array(anaLogSize(log.groups.length, nsids));
  const view = viewOf(made);
  AnaLogHeader.encode({ chgcnt: log.chgcnt, nagd: log.groups.length }, view);
  let at = AnaLogHeader.size;
  for (const { agid, chgcnt, state, nsids } of log.groups) {
    const listed = groupsOnly ? [] : nsids;
    AnaGroupDescriptor.encode({ agid, nnsidv: listed.length, chgcnt, anas: { anas: state } }, view, at);
    at += AnaGroupDescriptor.size;
    for (const nsid of listed) {
      view.setUint32(at, nsid, true);
      at += 4;
    }
  }
  return made;
}

/** What Identify Controller promised about the log. */
export interface AnaLimits {
  /** ANAGRPMAX: the highest group ID. */
  readonly anagrpmax: number;
  /** NN: the highest NSID. */
  readonly nn: number;
}

/**
 * Throws DecodeError, naming the first thing that is wrong, when a group ID is 0, above ANAGRPMAX or there twice, a
 * state is not one of the five, a namespace is invalid or in two groups, or the log is longer than `log`.
 * Change counts past 2^53 - 1 are `Infinity`: they differ from every other and mean "changed".
 */
export function decodeAnaLog(log: Uint8Array, limits: AnaLimits): AnaLog {
  const view = viewOf(log);
  if (log.length < AnaLogHeader.size)
    throw new DecodeError(`ANA log: ${log.length} bytes, no room for the header`);
  const count = AnaLogHeader.nagd.get(view, 0);
  const groups: AnaGroup[] = [];
  const seen = new Set<number>();
  const homes = new Map<number, number>();
  let at = AnaLogHeader.size;
  for (let i = 0; i < count; i++) {
    if (at + AnaGroupDescriptor.size > log.length)
      throw new DecodeError(`ANA log: descriptor ${i} of ${count} runs past the end (${log.length} bytes)`);
    const agid = AnaGroupDescriptor.agid.get(view, at);
    const nnsidv = AnaGroupDescriptor.nnsidv.get(view, at);
    const chgcnt = AnaGroupDescriptor.chgcnt.get(view, at);
    const state = AnaGroupDescriptor.anas.anas.get(view, at);
    if (agid === 0) throw new DecodeError('ANA log: group 0');
    if (agid > limits.anagrpmax)
      throw new DecodeError(`ANA log: group ${agid}, ANAGRPMAX is ${limits.anagrpmax}`);
    if (seen.has(agid)) throw new DecodeError(`ANA log: group ${agid} twice`);
    if (!isAnaState(state)) throw new DecodeError(`ANA log: group ${agid} has state ${state.toString(16)}h`);
    seen.add(agid);
    at += AnaGroupDescriptor.size;
    if (4 * nnsidv > log.length - at)
      throw new DecodeError(
        `ANA log: ${nnsidv} namespaces of group ${agid} run past the end (${log.length} bytes)`,
      );
    const nsids: number[] = [];
    for (let n = 0; n < nnsidv; n++, at += 4) {
      const nsid = view.getUint32(at, true);
      if (nsid === 0 || nsid > limits.nn)
        throw new DecodeError(`ANA log: NSID ${nsid} in group ${agid}, NN is ${limits.nn}`);
      const home = homes.get(nsid);
      if (home !== undefined) throw new DecodeError(`ANA log: NSID ${nsid} in groups ${home} and ${agid}`);
      homes.set(nsid, agid);
      nsids.push(nsid);
    }
    groups.push({ agid, chgcnt, state, nsids });
  }
  return { chgcnt: AnaLogHeader.chgcnt.get(view, 0), groups };
}
