/**
 * `npm run bench`: what the target does beside what the socket could do. One load generator asks, in the same run and
 * in turn, a bare socket server that answers with the same number of bytes, and the target over memory and over a file;
 * the ratio is what counts, for machines are noisy.
 *
 *     npm run bench -- --seconds 2 --repeat 5 --depths 1,32,128 --file /var/tmp/bench.img --json
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

export interface Load {
  readonly port: number;
  readonly nqn: string | undefined;
  readonly depth: number;
  readonly seconds: number;
  /** 4 KiB blocks to choose from. */
  readonly blocks: number;
  readonly write: boolean;
  readonly digests: boolean;
}
export interface Served {
  readonly port: number;
  readonly nqn?: string;
}
/** Replies per second, and microseconds of server CPU per reply. */
interface Measured {
  readonly rate: number;
}

const script = (name: string): string => fileURLToPath(new URL(`./bench-${name}.js`, import.meta.url));
const hasTaskset = spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0;

/** A process of its own, on a processor of its own where that can be had. */
function start(cpu: number, name: string, args: readonly string[]): ChildProcess {
  const command = [process.execPath, script(name), ...args];
  if (hasTaskset) command.unshift('taskset', '-c', String(cpu));
  return spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function firstLine<T>(child: ChildProcess): Promise<T> {
  const [chunk] = (await once(child.stdout!, 'data')) as [Buffer];
  return JSON.parse(String(chunk)) as T;
}

async function measure(load: Load): Promise<Measured> {
  const child = start(1, 'load', [JSON.stringify(load)]);
  const measured = await firstLine<Measured>(child);
  await once(child, 'exit');
  return measured;
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '1' },
      repeat: { type: 'string', default: '3' },
      depths: { type: 'string', default: '1,32,128' },
      file: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log('npm run bench -- [--seconds 1] [--repeat 3] [--depths 1,32,128] [--file PATH] [--json]');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'nvmetcp-bench-'));
  const file = values.file ?? join(folder, 'bench.img');
  const servers = { bare: start(0, 'bare', []), target: start(0, 'target', [file]) };
  try {
    const bare = await firstLine<Served>(servers.bare);
    const target = await firstLine<{ memory: Served; file: Served }>(servers.target);
    const rows: Record<string, string | number>[] = [];
    for (const write of [false, true])
      for (const depth of values.depths.split(',').map(Number)) {
        const common = { depth, seconds: Number(values.seconds), blocks: 16384, write, digests: false };
        const rates = { bare: [] as number[], memory: [] as number[], file: [] as number[] };
        for (let i = 0; i < Number(values.repeat); i++) {
          rates.bare.push((await measure({ ...common, port: bare.port, nqn: undefined })).rate);
          for (const kind of ['memory', 'file'] as const)
            rates[kind].push(
              (await measure({ ...common, port: target[kind].port, nqn: target[kind].nqn })).rate,
            );
        }
        const socket = median(rates.bare);
        for (const kind of ['memory', 'file'] as const) {
          const rate = median(rates[kind]);
          rows.push({
            work: `4 KiB random ${write ? 'write' : 'read'}, ${kind}`,
            depth,
            'replies/s': Math.round(rate),
            'bare socket': Math.round(socket),
            ratio: Number((rate / socket).toFixed(2)),
          });
        }
      }
    if (values.json)
      console.log(JSON.stringify({ node: process.version, pinned: hasTaskset, file, rows }, null, 2));
    else {
      console.log(
        `Node ${process.version}, ${hasTaskset ? 'server and load on a processor each' : 'not pinned'}, file ${file}`,
      );
      console.table(rows);
    }
  } finally {
    for (const server of Object.values(servers)) server.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
