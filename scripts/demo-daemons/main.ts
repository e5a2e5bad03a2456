/**
 * `npm run demo:daemons`: `npm run demo` with real processes: a target with two ports, a host daemon, and NBD clients that write and check what they wrote, while
 * ports go away and come back, ANA states change, and in the end everything is away for a while. It says what happens,
 * and fails when an I/O does.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { whyText } from '../../src/cli/host-show.ts';
import { request } from '../../src/daemon/control-client.ts';
import { NbdClient } from '../../src/daemon/nbd-client.ts';
import type { Why } from '../../src/initiator/why.ts';

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const NQN = 'nqn.2014-08.org.nvmexpress:demo';
const BLOCK = 4096;
/** Blocks of each worker. */
const BLOCKS = 256;
const WORKERS = 4;
const PATIENCE = 20_000;

const folder = mkdtempSync(join(tmpdir(), 'nvmetcp-demo-'));
const daemons: ChildProcess[] = [];
const began = performance.now();
const say = (text: string): void => {
  process.stdout.write(`${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${text}\n`);
};

function start(...args: string[]): ChildProcess {
  const child = spawn(process.execPath, [CLI, ...args, '--log-level', 'error'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  daemons.push(child);
  return child;
}

const target = (method: string, params: object = {}): Promise<unknown> =>
  request(join(folder, 'target/target.sock'), method, params);
const host = (method: string, params: object = {}): Promise<unknown> =>
  request(join(folder, 'host/host.sock'), method, params, undefined, 'hostd');
const why = async (): Promise<Why> => (await host('why', { head: 'nvme0n1' })) as Why;

async function until(what: string, found: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!(await found())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE / 1000} s`);
    await wait(50);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** What each path is, in order. */
const paths = (wanted: string) => async (): Promise<boolean> =>
  (await why()).paths.map(({ usable, anaState }) => (usable ? anaState : 'away')).join(' ') === wanted;

const count = { operations: 0, slowest: 0, stopped: false };
const running = (): boolean => !count.stopped;

/** Writes each block with its number and generation, over and over, and checks what was there before. */
async function work(worker: number, socket: string): Promise<void> {
  const client = await NbdClient.open(socket, 'nvme0n1');
  for (let generation = 1; running(); generation++)
    for (let i = 0; i < BLOCKS && running(); i++) {
      const offset = (worker * BLOCKS + i) * BLOCK;
      const before = performance.now();
      const data = Buffer.alloc(BLOCK);
      if (generation > 1) {
        await client.read(offset, data);
        check(data, offset, generation - 1);
      }
      for (let at = 0; at < BLOCK; at += 16) {
        data.writeUInt32LE(generation, at);
        data.writeUInt32LE(offset, at + 8);
      }
      await client.write(offset, [data], false);
      count.operations += generation > 1 ? 2 : 1;
      count.slowest = Math.max(count.slowest, performance.now() - before);
    }
  client.close();
}

function check(data: Buffer, offset: number, generation: number): void {
  for (let at = 0; at < BLOCK; at += 16)
    if (data.readUInt32LE(at) !== generation || data.readUInt32LE(at + 8) !== offset)
      throw new Error(`the data at ${offset + at} is not what was written`);
}

/** One scene: what is done, until the host sees it, and some more I/O; then what the daemon says. */
async function scene(text: string, act: () => Promise<unknown>, wanted: string, more = 500): Promise<void> {
  say(`── ${text}`);
  const { operations } = count;
  count.slowest = 0;
  await act();
  await until(text, paths(wanted));
  await until('I/O goes on', () => count.operations >= operations + more);
  say(`   ${count.operations - operations} operations, the slowest ${count.slowest.toFixed(0)} ms`);
  for (const line of whyText(await why())
    .split('\n')
    .slice(0, 9))
    if (!/keep alive|oldest command/.test(line)) say(`   ${line}`);
}

async function demo(): Promise<void> {
  // Of their own, so that they are the same when they come back.
  const two = [await freePort(), await freePort()].flatMap((port) => ['--listen', `127.0.0.1:${port}`]);
  start('targetd', '--state', join(folder, 'target'), '--nqn', NQN, '--mem', '16M', ...two);
  start('hostd', '--state', join(folder, 'host'), '--nbd', join(folder, 'nbd'));
  await until('the target listens', () => existsSync(join(folder, 'target/target.sock')));
  await until('the host daemon listens', () => existsSync(join(folder, 'host/host.sock')));
  const { ports } = (await target('show')) as { ports: { id: number; listening: string }[] };
  for (const { listening } of ports) {
    const [traddr, trsvcid] = listening.split(':');
    const recovery = { reconnect_delay: 1, delayed_removal_secs: 60, iopolicy: 'round-robin' };
    await host('connect', { traddr, trsvcid, subnqn: NQN, ...recovery });
    say(`connected to ${listening}`);
  }
  const [first, second] = ports.map(({ id }) => id);
  const socket = join(folder, 'nbd/nvme0n1.sock');
  await until('the disk is an NBD export', () => existsSync(socket));
  const workers = Promise.all(Array.from({ length: WORKERS }, (_, i) => work(i, socket)));
  const scenes = async (): Promise<void> => {
    const ana = (port: number | undefined, state: string) => () =>
      target('set-ana', { port, anagrpid: 1, state });
    const enable = (verb: string, port: number | undefined) => () => target(`${verb}-port`, { port });
    await scene('verified I/O over both paths', () => Promise.resolve(), 'optimized optimized', 2000);
    await scene('port 1 is taken away', enable('disable', first), 'away optimized');
    await scene('port 1 is back', enable('enable', first), 'optimized optimized');
    await scene('port 2 becomes non-optimized', ana(second, 'non-optimized'), 'optimized non-optimized');
    await scene('port 1 becomes inaccessible', ana(first, 'inaccessible'), 'away non-optimized');
    await scene('port 1 is optimized again', ana(first, 'optimized'), 'optimized non-optimized');
    const both = async (verb: string): Promise<void> => {
      for (const { id } of ports) await target(`${verb}-port`, { port: id });
    };
    await scene('both ports are taken away: I/O waits', () => both('disable'), 'away away', 0);
    await wait(2000);
    await scene('both ports are back: I/O goes on', () => both('enable'), 'optimized non-optimized');
    count.stopped = true;
  };
  await Promise.all([workers, scenes()]);
  say(`${count.operations} operations, every block was what was written last, none failed`);
}

function end(code: number): never {
  for (const child of daemons.reverse()) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

process.once('SIGINT', () => end(130)).once('SIGTERM', () => end(143));
try {
  await demo();
} catch (error) {
  say(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
  end(1);
}
end(0);
