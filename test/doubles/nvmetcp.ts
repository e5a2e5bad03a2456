// The tool as users run it: real processes, from JavaScript that is made of src as far as it has changed.
import * as fs from 'node:fs';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));
const built = join(root, '.tap', 'nvmetcp');
/** What is made, and run as `dist/…`, where `nvme-tcp` is the package itself. */
const FOLDERS = ['src', 'examples', join('scripts', 'demo'), join('scripts', 'interop')];
const CLI = 'src/cli/main.js';

const compilerOptions: ts.CompilerOptions = {
  module: ts.ModuleKind.ESNext,
  target: ts.ScriptTarget.ES2023,
  rewriteRelativeImportExtensions: true,
  verbatimModuleSyntax: true,
};

const changed = (path: string): number => fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** Puts a file in place as a whole: two test files may do this at the same time. */
function put(path: string, text: string): void {
  fs.mkdirSync(dirname(path), { recursive: true });
  const fresh = join(dirname(path), `.${process.pid}-${basename(path)}`);
  fs.writeFileSync(fresh, text);
  fs.renameSync(fresh, path);
}

export function build(): void {
  for (const folder of FOLDERS)
    for (const name of fs.readdirSync(join(root, folder), { recursive: true }) as string[]) {
      if (!name.endsWith('.ts')) continue;
      const from = join(root, folder, name);
      const to = join(built, 'dist', folder, name.replace(/ts$/, 'js'));
      if (changed(to) > changed(from)) continue;
      put(to, ts.transpileModule(fs.readFileSync(from, 'utf8'), { compilerOptions }).outputText);
    }
  put(join(built, 'package.json'), fs.readFileSync(join(root, 'package.json'), 'utf8'));
}

export interface RunOptions {
  readonly input?: Uint8Array | string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Without the test runner's loader, and nothing of this machine's state. */
function launch(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  script = CLI,
): ChildProcessWithoutNullStreams {
  const { PATH = '', HOME = '' } = process.env;
  return spawn(process.execPath, [join(built, 'dist', script), ...args], { env: { PATH, HOME, ...env } });
}

/** Runs a command to its end. */
export const nvmetcp = (args: readonly string[], options: RunOptions = {}): Promise<Ran> =>
  run(CLI, args, options);

/** Runs a script, `examples/disk.js`, to its end. */
export async function run(
  script: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Ran> {
  const child = launch(args, options.env ?? {}, script);
  const chunks: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => (stderr += String(chunk)));
  // A command that fails early does not read what it is given.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout: Buffer.concat(chunks), stderr };
}

/** A `nvmetcp targetd`, or another daemon, that has said that it is ready. */
export class Daemon {
  readonly child: ChildProcessWithoutNullStreams;
  stdout = '';
  stderr = '';
  readonly #closed: Promise<unknown>;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.child = child;
    this.#closed = once(child, 'close');
    child.stdout.on('data', (chunk: Buffer) => (this.stdout += String(chunk)));
    child.stderr.on('data', (chunk: Buffer) => (this.stderr += String(chunk)));
  }

  static async start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Daemon> {
    const daemon = new Daemon(launch(['targetd', ...args], env));
    await daemon.says(() => /nvme connect .*\n/.test(daemon.stdout));
    return daemon;
  }

  static async host(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Daemon> {
    const daemon = new Daemon(launch(['hostd', ...args], env));
    await daemon.says(() => /host list\n/.test(daemon.stdout));
    return daemon;
  }

  /** Resolves when it has printed what is looked for, on either stream; rejects when it ends before. */
  async says(found: () => boolean): Promise<void> {
    const over = this.#closed.then(() => 'over');
    while (!found()) {
      const more = Promise.race([once(this.child.stdout, 'data'), once(this.child.stderr, 'data'), over]);
      if ((await more) === 'over' && !found())
        throw new Error(`the daemon ended: ${this.stdout}${this.stderr}`);
    }
  }

  /** `-a … -s … -n …`, as it says itself. */
  get flags(): string[] {
    const line = /(-a .*)/.exec(this.stdout)?.[1];
    return (line ?? '').split(' ');
  }

  get port(): number {
    return Number(this.flags[3]);
  }

  get nqn(): string {
    return this.flags[5] ?? '';
  }

  /** Its exit code, or the signal that ended it. */
  async ends(signal?: NodeJS.Signals): Promise<number | string> {
    if (signal) this.child.kill(signal);
    await this.#closed;
    return this.child.exitCode ?? this.child.signalCode ?? '';
  }
}
