/** Other programs: run to their end, with their output, or an error that says what they said. */
import { spawnSync, type SpawnSyncOptions } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A fault of the runner or of this machine, not of what is tested; the message is for the user. */
export class LabError extends Error {
  override readonly name = 'LabError';
}

/** The program's standard output. Throws LabError when it ends with anything but 0. */
export function run(program: string, args: readonly string[], options: SpawnSyncOptions = {}): string {
  const { error, status, signal, stdout, stderr } = spawnSync(program, args, {
    maxBuffer: 2 ** 28,
    ...options,
    encoding: 'utf8',
  });
  if (error) throw new LabError(`${program}: ${error.message}`);
  if (status === 0) return stdout;
  const said = `${stderr}${stdout}`.trim().split('\n').slice(-8).join('\n  ');
  throw new LabError(
    `${[program, ...args.slice(0, 6)].join(' ')}: ${signal ?? `status ${status}`}\n  ${said}`,
  );
}

/** Where `program` is; /usr/sbin is not in everybody's PATH. */
export function whereIs(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

export const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
