/**
 * Does the run notice when we break something? Each mutation is a small change to a copy of the compiled code, and the
 * scenario named beside it must fail with it.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LabError, say } from './tool.ts';

interface Mutation {
  readonly name: string;
  /** In dist/src. */
  readonly file: string;
  /** Must be there exactly once. */
  readonly from: string;
  readonly to: string;
  readonly caughtBy: string;
}

const MUTATIONS: readonly Mutation[] = [
  {
    name: 'a wrong data digest',
    file: 'pdu/sender.js',
    from: 'this.view.setUint32(this.#end, crc, true)',
    to: 'this.view.setUint32(this.#end, (crc ^ 1) >>> 0, true)',
    caughtBy: 'digests',
  },
  {
    name: 'a wrong data digest of our host',
    file: 'pdu/sender.js',
    from: 'this.view.setUint32(this.#end, crc, true)',
    to: 'this.view.setUint32(this.#end, (crc ^ 1) >>> 0, true)',
    caughtBy: 'host-digests',
  },
  {
    name: 'a wrong header digest',
    file: 'pdu/sender.js',
    from: 'this.view.setUint32(to, this.#crc32c(',
    to: 'this.view.setUint32(to, 1 + this.#crc32c(',
    caughtBy: 'digests',
  },
  {
    name: 'a lost AER',
    file: 'target/async-events.js',
    from: 'raise(event) {',
    to: 'raise(event) { return;',
    caughtBy: 'changes',
  },
  {
    name: 'MAXH2CDATA of 4095',
    file: 'target/handshake.js',
    from: 'ICResp.maxh2cdata.set(sender.view, at, maxH2cData)',
    to: 'ICResp.maxh2cdata.set(sender.view, at, 4095)',
    caughtBy: 'connect',
  },
  {
    name: 'a C2HData without its response',
    file: 'target/queue.js',
    from: 'if (all)',
    to: 'if (all || this.qid !== 0)',
    caughtBy: 'fio',
  },
  {
    name: 'FUA ignored',
    file: 'target/blocks.js',
    from: 'command.op.fua = ReadWrite.cdw12.fua.get(command.view, 0) === 1 || !writeCache(command)',
    to: 'command.op.fua = false',
    caughtBy: 'fua',
  },
  {
    name: 'FUA of Write Zeroes ignored',
    file: 'target/blocks.js',
    from: 'command.op.fua = WriteZeroes.cdw12.fua.get(command.view, 0) === 1 || !writeCache(command)',
    to: 'command.op.fua = false',
    caughtBy: 'fua',
  },
  {
    name: 'FUA of Copy ignored',
    file: 'target/copy.js',
    from: 'command.op.fua = Copy.cdw12.fua.get(command.view, 0) === 1 || !writeCache(command)',
    to: 'command.op.fua = false',
    caughtBy: 'fua',
  },
  {
    name: 'FUA of Read ignored',
    file: 'target/blocks.js',
    from: 'const fua = !command.op.mayBeLent;',
    to: 'const fua = false;',
    caughtBy: 'fua',
  },
  {
    name: 'a Flush that syncs nothing',
    file: 'target/blocks.js',
    from: "command.op.kind = 'flush';\n        submit(command);",
    to: 'command.complete(0);',
    caughtBy: 'fua',
  },
];

/** True: every one was found. `root`: the package, compiled. `args`: handed on to each run. */
export function findMutations(root: string, args: readonly string[]): boolean {
  const missed: string[] = [];
  // Before anything is booted for one.
  for (const mutation of MUTATIONS) mutatedText(root, mutation);
  for (const mutation of MUTATIONS) {
    const { name, caughtBy } = mutation;
    const copy = mutated(root, mutation);
    try {
      const started = Date.now();
      const main = join(copy, 'dist/scripts/interop/main.js');
      const { status, stdout } = spawnSync(process.execPath, [main, '--only', caughtBy, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
        maxBuffer: 2 ** 28,
      });
      const seconds = Math.round((Date.now() - started) / 1000);
      const lines = stdout.split('\n');
      const at = lines.findIndex((line) => line.startsWith('FAIL'));
      // 1 with a line that says so: the scenario failed; anything else says nothing about it.
      const found = status === 1 && at >= 0;
      if (!found) missed.push(name);
      const why = /FAILED: (.*)/.exec(stdout)?.[1] ?? lines[at + 1]?.trim() ?? '';
      say(`${found ? 'found' : 'MISSED'}  ${name} (${caughtBy}, ${seconds} s): ${why}`);
      if (!found) say(stdout);
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }
  say(`\nmutations: ${MUTATIONS.length - missed.length} found, ${missed.length} missed`);
  return missed.length === 0;
}

/** A copy of the package with the change in it. */
function mutated(root: string, mutation: Mutation): string {
  const text = mutatedText(root, mutation);
  const copy = mkdtempSync(join(tmpdir(), 'nvmetcp-mutation-'));
  cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true });
  for (const part of ['node_modules', 'package.json', 'test'])
    symlinkSync(join(root, part), join(copy, part));
  writeFileSync(join(copy, 'dist/src', mutation.file), text);
  return copy;
}

/** The file with the change in it. Throws LabError when the change does not fit any more. */
function mutatedText(root: string, { name, file, from, to }: Mutation): string {
  const parts = readFileSync(join(root, 'dist/src', file), 'utf8').split(from);
  if (parts.length === 2) return parts.join(to);
  throw new LabError(`mutation "${name}": ${file} has its place ${parts.length - 1} times, not once`);
}
