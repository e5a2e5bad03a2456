/** `nvmetcp doctor`. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { SOCKET_NAME, stateFolder } from '../daemon/folder.ts';
import { addOutputFlag } from './connection.ts';
import { type OutputFlags, print } from './print.ts';

const SIGNS = { ok: 'ok  ', warning: 'warn', failed: 'FAIL' } as const;

export function addDoctor(program: Command): void {
  addOutputFlag(program.command('doctor [folder]'))
    .summary('What this machine offers: holes, locks, FFI, limits, free ports.')
    .description(
      'What this machine offers: holes, locks, FFI, limits, free ports. FOLDER is where disk images would be ' +
        '(default: the state folder, else the current one).',
    )
    .option('--state <folder>', 'state folder of a target (default: as targetd)')
    .addHelpText(
      'after',
      '\nExamples:\n  nvmetcp doctor\n  nvmetcp doctor /srv/disks -o json\n\nExit codes: 0 it works, 1 something that is needed does not.',
    )
    .action(async (wanted: string | undefined, flags: OutputFlags & { readonly state?: string }) => {
      const { examine } = await import('../daemon/doctor.ts');
      const state = stateFolder(flags.state, process.env, process.getuid?.());
      const folder = resolve(wanted ?? (existsSync(state) ? state : '.'));
      const findings = await examine({ folder, control: join(state, SOCKET_NAME) });
      print(flags, { findings }, () => {
        const width = Math.max(...findings.map(({ name }) => name.length));
        return findings
          .map(({ name, state: how, found, means }) => {
            const text = `${SIGNS[how]}  ${name.padEnd(width)}  ${found}`;
            return means === '' ? text : `${text}\n${' '.repeat(width + 8)}${means}`;
          })
          .join('\n');
      });
      if (findings.some(({ state: how }) => how === 'failed')) process.exitCode = 1;
    });
}
