/** What both daemons are told: where their state and their control socket are, and what they log. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { stateFolder } from '../daemon/folder.ts';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../daemon/log-levels.ts';
import { spelling } from './spelling.ts';

export interface ServiceFlags {
  readonly state?: string;
  readonly control?: string;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** `client`: the command that talks to the daemon; `socket`: its control socket's name. */
export const addServiceFlags = (command: Command, client: string, socket: string): Command =>
  command
    .option(
      '--state <folder>',
      'where state is kept (default: $NVMETCP_STATE, else /var/lib/nvmetcp for root, else ~/.local/state/nvmetcp)',
    )
    .option(
      '--control <path>',
      `its control socket, for "nvmetcp ${client}" (default: ${socket} in the state folder)`,
    )
    .addOption(new Option('--log-level <level>', 'what to log').choices(LOG_LEVELS).default('info'))
    .addOption(
      new Option('--log-format <format>', 'how to log, on stderr').choices(LOG_FORMATS).default('text'),
    );

export const serviceOptions = ({ state, control, logLevel, logFormat }: ServiceFlags) => ({
  folder: stateFolder(state, process.env, process.getuid?.()),
  control: control === undefined ? undefined : resolve(control),
  logLevel,
  logFormat,
  command: spelling(process.argv[1] ?? 'nvmetcp', process.cwd()),
});
