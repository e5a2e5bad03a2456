/** `nvmetcp read`, `write`, `flush`: blocks to and from a file or a pipe. */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import type { Readable, Writable } from 'node:stream';
import type { Command } from 'commander';
import { NvmeError } from '../api/error.ts';
import type { Disk } from '../daemon/head-client.ts';
import { inWords } from '../runtime/node/errors.ts';
import { type HeadOrDiskFlags, EXAMPLE, addHeadOrDiskFlags, addNsidFlag, withDisk } from './connection.ts';
import { count } from './flags.ts';

interface Flags extends HeadOrDiskFlags {
  readonly nsid: number;
  readonly slba: number;
  readonly blocks?: number;
  readonly data?: string;
  readonly force?: boolean;
  readonly fua?: boolean;
  readonly pad?: boolean;
}

/** Bytes that are read or written at a time. */
const PIECE = 4 * 1024 * 1024;

const wrong = (message: string): NvmeError => new NvmeError(message, { code: 'EINVAL' });

async function read(flags: Flags): Promise<void> {
  const { data, slba, blocks = 1, force } = flags;
  if (data === undefined && process.stdout.isTTY && force !== true)
    throw wrong('not printing blocks to a terminal: use --data FILE, a pipe, or --force');
  await withDisk(flags, async (disk) => {
    const out: Writable = data === undefined ? process.stdout : await created(data);
    const piece = Math.floor(PIECE / disk.blockSize);
    const next = (done: number): Promise<Uint8Array> | undefined =>
      done < blocks ? disk.read(slba + done, Math.min(piece, blocks - done)) : undefined;
    // The next piece is on its way while this one is written.
    let done = 0;
    for (let pending = next(0); pending;) {
      const bytes = await pending;
      done += bytes.length / disk.blockSize;
      pending = next(done);
      pending?.catch(() => undefined);
      await put(out, bytes);
    }
    if (data === undefined) return;
    out.end();
    await finished(out);
  });
}

async function created(path: string): Promise<Writable> {
  const handle = await open(path, 'w').catch((error: unknown) => {
    throw wrong(`${path} cannot be written: ${inWords(error)}`);
  });
  // What goes wrong later is told to whoever writes.
  return handle.createWriteStream().on('error', () => undefined);
}

/** Resolves when the stream has taken the bytes. */
const put = (out: Writable, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    out.write(bytes, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });

async function write(flags: Flags): Promise<void> {
  const { data } = flags;
  if (data === undefined && process.stdin.isTTY) throw wrong('there is no data: use --data FILE or a pipe');
  await withDisk(flags, async (disk) => {
    if (data !== undefined) await checkFile(disk, flags, data);
    const input: Readable =
      data === undefined ? process.stdin : createReadStream(data, { highWaterMark: PIECE });
    const blocks = await pour(disk, input, flags);
    if (blocks === 0) throw wrong('there is no data');
    process.stderr.write(
      `wrote ${blocks} ${blocks === 1 ? 'block' : 'blocks'} of ${disk.blockSize} bytes at ${flags.slba}\n`,
    );
  });
}

/** What can be known before anything is written. */
async function checkFile(disk: Disk, { blocks, slba, pad }: Flags, path: string): Promise<void> {
  const stats = await stat(path).catch((error: unknown) => {
    throw wrong(`${path} cannot be read: ${inWords(error)}`);
  });
  if (!stats.isFile()) return;
  const { size } = stats;
  const wanted = blocks === undefined ? Math.ceil(size / disk.blockSize) : blocks;
  if (blocks === undefined && size % disk.blockSize !== 0 && pad !== true) throw leftOver(disk, size);
  if (blocks !== undefined && size < blocks * disk.blockSize) throw tooShort(blocks * disk.blockSize, size);
  if (slba + wanted > disk.blocks)
    throw wrong(`${wanted} blocks at ${slba} do not fit: the namespace has ${disk.blocks} blocks`);
}

const leftOver = (disk: Disk, bytes: number): NvmeError =>
  wrong(
    `${bytes % disk.blockSize} bytes do not fill a block of ${disk.blockSize}; --pad fills it with zeroes`,
  );
const tooShort = (wanted: number, bytes: number): NvmeError =>
  wrong(`the data ends after ${bytes} bytes, --blocks asks for ${wanted}`);

/** Writes what comes in, in order, a piece at a time. The result: blocks written. */
async function pour(disk: Disk, input: Readable, flags: Flags): Promise<number> {
  const { blockSize } = disk;
  const most = flags.blocks === undefined ? Infinity : flags.blocks * blockSize;
  let waiting: Uint8Array[] = [];
  let held = 0;
  let taken = 0;
  let blocks = 0;
  const send = async (bytes: number): Promise<void> => {
    if (bytes === 0) return;
    const all = Buffer.concat(waiting);
    await disk.write(flags.slba + blocks, all.subarray(0, bytes), { fua: flags.fua });
    blocks += bytes / blockSize;
    waiting = [all.subarray(bytes)];
    held -= bytes;
  };
  for await (const chunk of input as AsyncIterable<Buffer>) {
    const useful = chunk.subarray(0, most - taken);
    taken += useful.length;
    held += useful.length;
    waiting.push(useful);
    if (held >= PIECE) await send(held - (held % blockSize));
    if (taken === most) break;
  }
  if (flags.blocks !== undefined && taken < most && flags.pad !== true) throw tooShort(most, taken);
  await send(held - (held % blockSize));
  if (held === 0) return blocks;
  if (flags.pad !== true) throw leftOver(disk, held);
  const padding = blockSize - held;
  waiting.push(new Uint8Array(padding));
  held += padding;
  await send(held);
  return blocks;
}

async function flush(flags: HeadOrDiskFlags): Promise<void> {
  await withDisk(flags, (disk) => disk.flush());
}

function addBlockFlags(command: Command, blocks: string): Command {
  return addNsidFlag(addHeadOrDiskFlags(command))
    .option('--slba <block>', 'first block', count(0, Number.MAX_SAFE_INTEGER), 0)
    .option('--blocks <count>', blocks, count(1, Number.MAX_SAFE_INTEGER))
    .option('--data <file>', 'a file instead of standard input or output');
}

export function addData(program: Command): void {
  addBlockFlags(program.command('read'), 'how many (default: 1)')
    .option('--force', 'print to a terminal as well')
    .description('Read blocks, to standard output or a file.')
    .addHelpText(
      'after',
      `\nExamples:\n  nvmetcp read ${EXAMPLE} --slba 0 --blocks 8 | hexdump -C\n` +
        `  nvmetcp read ${EXAMPLE} --blocks 2048 --data first.img\n` +
        `  nvmetcp read --head nvme0n1 --blocks 2048 --data first.img`,
    )
    .action(read);
  addBlockFlags(program.command('write'), 'how many (default: as many as there is data for)')
    .option('--fua', 'done only when it is on stable storage')
    .option('--pad', 'fill the last block with zeroes')
    .description('Write blocks, from standard input or a file. What was in them is lost.')
    .addHelpText(
      'after',
      `\nExamples:\n  echo hello | nvmetcp write ${EXAMPLE} --slba 8 --pad\n` +
        `  nvmetcp write ${EXAMPLE} --data first.img --fua`,
    )
    .action(write);
  addNsidFlag(addHeadOrDiskFlags(program.command('flush')))
    .description('Put everything that was written on stable storage.')
    .addHelpText('after', `\nExample:\n  nvmetcp flush ${EXAMPLE}`)
    .action(flush);
}
