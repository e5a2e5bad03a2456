#!/usr/bin/env node
/** `nvmetcp`: one tool. The commands are in files of their own; here is what they have in common. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { NvmeError } from '../api/error.ts';
import { addBench } from './bench.ts';
import { addData } from './data.ts';
import { addDiscover } from './discover.ts';
import { addHost } from './host.ts';
import { addHostd } from './hostd.ts';
import { addNbd } from './nbd.ts';
import { addDoctor } from './doctor.ts';
import { addIdentify } from './identify.ts';
import { addTarget } from './target.ts';
import { addTargetd } from './targetd.ts';

/** 0: done; 1: the operation failed; 2: wrong flags or configuration, nothing was tried. */
const USAGE = 2;

const { version } = JSON.parse(
  // From dist/src/cli as from src/cli: the nearest package.json upwards is the package's.
  readFileSync(new URL(packageJson(), import.meta.url), 'utf8'),
) as { version: string };

function packageJson(): string {
  return import.meta.url.includes('/dist/src/cli/') ? '../../../package.json' : '../../package.json';
}

const oneLine = (text: string): string => text.trim().replaceAll(/\s*\n\s*/g, ' ');

function build(): Command {
  const program = new Command('nvmetcp');
  program
    .description('NVMe/TCP in user space: export disks, and use them, without a kernel module.')
    .version(version, '-V, --version')
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(`nvmetcp: ${oneLine(text.replace(/^error: /, ''))}\n`),
    })
    .addHelpText(
      'after',
      `
Exit codes: 0 done, 1 the operation failed, 2 wrong flags or configuration.
Errors are one line on stderr; NVMETCP_DEBUG=1 adds where they come from.`,
    );
  addTargetd(program);
  addTarget(program);
  addDoctor(program);
  addDiscover(program);
  addIdentify(program);
  addData(program);
  addBench(program);
  addNbd(program);
  addHostd(program);
  addHost(program);
  return program;
}

/** The exit code. */
function report(command: string, error: unknown): number {
  if (error instanceof CommanderError) {
    // It has said what there is to say.
    return error.exitCode === 0 ? 0 : USAGE;
  }
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`nvmetcp ${command}: ${oneLine(message)}\n`);
  if (process.env['NVMETCP_DEBUG'] === '1' && error instanceof Error)
    process.stderr.write(`${error.stack ?? ''}\n`);
  // The daemon does nothing before all of its flags and state are known to work.
  const usage =
    error instanceof NvmeError && (command === 'targetd' || command === 'hostd' || error.code === 'EINVAL');
  return usage ? USAGE : 1;
}

/** Resolves when everything that was written before is with the system, or nobody reads any more. */
const taken = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    stream.write('', () => {
      resolve();
    });
  });

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // `nvmetcp … | head`: nobody reads any more.
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

try {
  await build().parseAsync();
} catch (error) {
  process.exitCode = report(process.argv[2] ?? '', error);
}
// What a pipe or a socket has not taken yet would be lost.
await Promise.all([process.stdout, process.stderr].map(taken));
// Nothing that is still open, a pipe from the shell say, keeps a command that is over alive.
process.exit();
