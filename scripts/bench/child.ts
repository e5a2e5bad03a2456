/** Processes of a run: each on a processor of its own where that can be had, each says one line of JSON. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const hasTaskset = spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0;
/** Whether server and client run on a processor each. */
export const pinned = hasTaskset && availableParallelism() > 1;

export type Role = 'server' | 'client';
const PROCESSOR: Readonly<Record<Role, number>> = { server: 0, client: 1 };

export interface Child<T> {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Its line. */
  readonly said: Promise<T>;
}

/** Starts `NAME.js` of this folder; `input` is its one argument. Standard error goes to ours. */
export function start<T>(role: Role, name: string, input: unknown, flags: readonly string[] = []): Child<T> {
  const script = fileURLToPath(new URL(`./${name}.js`, import.meta.url));
  const command = [process.execPath, ...flags, script, JSON.stringify(input)];
  if (pinned) command.unshift('taskset', '-c', String(PROCESSOR[role]));
  // What else is to be done, a child is told as messages.
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  const said = new Promise<T>((resolve, reject) => {
    createInterface(child.stdout!).once('line', (line) => {
      resolve(JSON.parse(line) as T);
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      reject(new Error(`${name} ended with ${signal ?? code} and said nothing`));
    });
  });
  // taskset becomes the process that it starts.
  return { process: child, pid: child.pid ?? 0, said };
}

export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** For a machine that stops for a while, ms. */
const PATIENCE = 60_000;

/** The time of a measurement: `ms`, and on until something was answered. */
export async function measuring(ms: number, answered: () => boolean): Promise<void> {
  await wait(ms);
  for (const end = performance.now() + PATIENCE; !answered() && performance.now() < end;) await wait(10);
}

/** What a child says to its parent. */
export function say(what: unknown): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}
