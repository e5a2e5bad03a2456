/** What is measured: a kind of work, where its bytes are, and how hard it is asked for. Plain data, no effects. */

export const KINDS = ['randread', 'randwrite', 'randrw', 'read', 'write'] as const;
export type Kind = (typeof KINDS)[number];

/** Where the blocks are: memory, a file on tmpfs, a file on the disk's file system. */
export const STORES = ['memory', 'tmpfs', 'disk'] as const;
export type Store = (typeof STORES)[number];

export interface Work {
  readonly kind: Kind;
  /** Bytes of one command; a multiple of 4096. */
  readonly bytes: number;
  /** Commands under way at any time, on each queue. */
  readonly depth: number;
  readonly queues: number;
  /** Header and data digests. */
  readonly digests: boolean;
}

export interface Row {
  readonly store: Store;
  readonly work: Work;
}

/** Blocks of the namespaces that are measured. */
export const BLOCK = 4096;
/** Of each file and of the memory namespace. */
export const SIZE = 256 * 2 ** 20;
/** Of 100 commands of `randrw`. */
export const READS_OF_100 = 70;

const KIB = 1024;
/** At which large sequential reads are asked for as well. */
const SEQUENTIAL_DEPTH = 16;
/** Above this, write data goes by R2T instead of inside the capsule. */
export const IN_CAPSULE = 16 * KIB;

const NAMES: Readonly<Record<Kind, string>> = {
  randread: 'random read',
  randwrite: 'random write',
  randrw: 'random 70/30',
  read: 'sequential read',
  write: 'sequential write',
};

/** `4 KiB random read, depth 32, 4 queues, digests`. */
export function workName({ kind, bytes, depth, queues, digests }: Work): string {
  const more = `${queues > 1 ? `, ${queues} queues` : ''}${digests ? ', digests' : ''}`;
  return `${bytes / KIB} KiB ${NAMES[kind]}, depth ${depth}${more}`;
}

export interface PlanOptions {
  readonly stores: readonly Store[];
  readonly kinds: readonly Kind[];
  readonly depths: readonly number[];
  readonly queues: readonly number[];
  readonly digests: readonly boolean[];
  /** Every combination, not only one queue without digests and the variations of what is read at depth 32. */
  readonly cross: boolean;
}

const bytesOf = (kind: Kind): number => (kind.startsWith('rand') ? 4 * KIB : 128 * KIB);

export function plan(options: PlanOptions): Row[] {
  const { stores, kinds, depths, queues, digests, cross } = options;
  const rows: Row[] = [];
  for (const store of stores)
    for (const kind of kinds)
      for (const depth of depths)
        for (const count of queues)
          for (const digest of digests) {
            const varied = (count === 1 ? 0 : 1) + (digest ? 1 : 0);
            const isBase = varied === 0 || (queues.length === 1 && digests.length === 1);
            const isVariation =
              varied === 1 && depth === 32 && bytesOf(kind) === 4 * KIB && kind !== 'randrw';
            // Of several depths this one is for what is asked for at it.
            if (depth === SEQUENTIAL_DEPTH && depths.length > 1 && kind !== 'read' && !cross) continue;
            if (cross || isBase || isVariation)
              rows.push({
                store,
                work: { kind, bytes: bytesOf(kind), depth, queues: count, digests: digest },
              });
          }
  return rows;
}
