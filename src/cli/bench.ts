/** `nvmetcp bench`. */
import { type Command, Option } from 'commander';
import { NvmeError } from '../api/error.ts';
import type { Disk } from '../daemon/head-client.ts';
import { formatSize } from '../config/units.ts';
import { nodeCrypto } from '../runtime/node/crypto.ts';
import {
  type HeadOrDiskFlags,
  EXAMPLE,
  addHeadOrDiskFlags,
  addNsidFlag,
  addOutputFlag,
  withDisk,
} from './connection.ts';
import { count, seconds, size } from './flags.ts';
import { LOADS, Load, type LoadKind, type Tally } from './load.ts';
import { type OutputFlags, print } from './print.ts';

interface Flags extends HeadOrDiskFlags, OutputFlags {
  readonly nsid: number;
  readonly rw: LoadKind;
  readonly bs: number;
  readonly qd: number;
  readonly time: number;
  readonly verify?: 'crc32c';
  readonly seed?: number;
  readonly slba: number;
  readonly blocks?: number;
}

interface Direction {
  readonly operations: number;
  readonly bytes: number;
  readonly iops: number;
  /** Bytes per second. */
  readonly bandwidth: number;
  /** Microseconds. */
  readonly latency_us: Readonly<Record<'min' | 'mean' | 'p50' | 'p99' | 'p99.9' | 'max', number>>;
}

interface Result {
  readonly rw: LoadKind;
  readonly bs: number;
  readonly qd: number;
  readonly seconds: number;
  readonly read?: Direction;
  readonly write?: Direction;
  /** Of the data, with --verify. */
  readonly seed?: number;
  readonly verified_blocks?: number;
}

const wrong = (message: string): NvmeError => new NvmeError(message, { code: 'EINVAL' });
const oneDigit = (value: number): number => Math.round(value * 10) / 10;

async function bench(flags: Flags): Promise<void> {
  const result = await withDisk(flags, (disk) => measure(disk, flags));
  print(flags, result, normal);
}

async function measure(disk: Disk, flags: Flags): Promise<Result> {
  const { rw, bs, qd, slba, verify } = flags;
  const writes = rw.includes('w');
  const blocks = bs / disk.blockSize;
  if (!Number.isInteger(blocks))
    throw wrong(`--bs ${bs} is not a multiple of the block size, ${disk.blockSize}`);
  const range = flags.blocks ?? disk.blocks - slba;
  if (range < 1 || slba + range > disk.blocks) throw wrong(`the namespace has ${disk.blocks} blocks`);
  const units = Math.floor(range / blocks);
  if (units < (writes ? 2 * qd : 1))
    throw wrong(`${range} blocks are too few for --qd ${qd} operations of ${formatSize(bs)}`);
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 32);
  const load = new Load(disk, nodeCrypto(), {
    kind: rw,
    blocks,
    depth: qd,
    from: slba,
    count: range,
    seed,
    checkSeed: writes || flags.seed !== undefined,
    verify: verify !== undefined,
  });
  const began = performance.now();
  await timed(load, flags, began);
  const took = (performance.now() - began) / 1000;
  if (writes && verify !== undefined) {
    await disk.flush();
    await load.check();
  }
  const read = direction(load.reads, bs, took);
  const written = direction(load.writes, bs, took);
  return {
    rw,
    bs,
    qd,
    seconds: Math.round(took * 1000) / 1000,
    ...(read && { read }),
    ...(written && { write: written }),
    ...(verify !== undefined && { seed, verified_blocks: load.verified }),
  };
}

/** Runs the load for its time, or until Ctrl-C, with a line that says how it goes where somebody looks. */
async function timed(load: Load, flags: Flags, began: number): Promise<void> {
  const stop = (): void => load.stop();
  const timer = setTimeout(stop, flags.time * 1000);
  process.once('SIGINT', stop);
  let before = 0;
  const progress = setInterval(() => {
    const done = load.reads.operations + load.writes.operations;
    const rate = `${(done - before).toLocaleString('en')} IOPS, ${formatSize((done - before) * flags.bs, 1)}/s`;
    before = done;
    process.stderr.write(`\r${Math.round((performance.now() - began) / 1000)} s: ${rate}\u001b[K`);
  }, 1000);
  if (!process.stderr.isTTY) clearInterval(progress);
  try {
    await load.run();
  } finally {
    clearTimeout(timer);
    clearInterval(progress);
    process.off('SIGINT', stop);
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  }
}

function direction({ operations, latency }: Tally, bs: number, took: number): Direction | undefined {
  if (operations === 0) return undefined;
  // The histogram counts in 100 ns.
  const us = (value: number): number => oneDigit(value / 10);
  return {
    operations,
    bytes: operations * bs,
    iops: oneDigit(operations / took),
    bandwidth: Math.round((operations * bs) / took),
    latency_us: {
      min: us(latency.min),
      mean: us(latency.mean),
      p50: us(latency.percentile(50)),
      p99: us(latency.percentile(99)),
      'p99.9': us(latency.percentile(99.9)),
      max: us(latency.max),
    },
  };
}

function normal(result: Result): string {
  const { rw, bs, qd, seconds: took, read, write, seed, verified_blocks } = result;
  const head = ['', 'IOPS', 'bandwidth', 'p50', 'p99', 'p99.9', 'max'];
  const rows = [head, ...(read ? [row('read', read)] : []), ...(write ? [row('write', write)] : [])];
  const widths = head.map((_, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0)));
  const table = rows.map((cells) => cells.map((cell, i) => cell.padStart(widths[i] ?? 0)).join('  '));
  const lines = [`${rw}, ${formatSize(bs)}, depth ${qd}, ${took.toFixed(1)} s`, ...table];
  if (verified_blocks !== undefined)
    lines.push(`${verified_blocks.toLocaleString('en')} blocks verified (CRC32C), seed ${seed ?? 0}`);
  return lines.join('\n');
}

function row(name: string, { iops, bandwidth, latency_us: latency }: Direction): string[] {
  const times = [latency.p50, latency.p99, latency['p99.9'], latency.max].map(time);
  const rate = Math.round(iops).toLocaleString('en');
  return [name, rate, `${formatSize(bandwidth, 1)}/s`, ...times];
}

function time(us: number): string {
  if (us < 1000) return `${us.toFixed(0)} µs`;
  return us < 1_000_000 ? `${(us / 1000).toFixed(2)} ms` : `${(us / 1_000_000).toFixed(2)} s`;
}

export function addBench(program: Command): void {
  addNsidFlag(addOutputFlag(addHeadOrDiskFlags(program.command('bench'))))
    .description('Measure a namespace, and check with --verify that it keeps what it is given.')
    .addOption(
      new Option('--rw <kind>', 'what to do; all but the reads overwrite what is on the namespace')
        .choices(LOADS)
        .default('randread'),
    )
    .option('--bs <size>', 'bytes of one operation', size, 4096)
    .option('--qd <count>', 'operations under way at any time', count(1, 65_536), 32)
    .option('--time <seconds>', 'how long', seconds, 5)
    .addOption(
      new Option(
        '--verify <kind>',
        'write blocks that carry their number and CRC, and check them; reads expect what such a run has written',
      ).choices(['crc32c']),
    )
    .option('--seed <number>', 'repeat a run; with --verify, expect its data', count(0, 2 ** 32 - 1))
    .option('--slba <block>', 'first block to use', count(0, Number.MAX_SAFE_INTEGER), 0)
    .option('--blocks <count>', 'blocks to use (default: all)', count(1, Number.MAX_SAFE_INTEGER))
    .addHelpText(
      'after',
      `\nExamples:\n  nvmetcp bench ${EXAMPLE}\n` +
        `  nvmetcp bench ${EXAMPLE} --rw read --bs 128k --qd 8 --time 30 -o json\n` +
        `  nvmetcp bench ${EXAMPLE} --rw randrw --verify crc32c`,
    )
    .action(bench);
}
