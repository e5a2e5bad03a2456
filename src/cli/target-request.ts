/** What the verbs of `nvmetcp target` share: flags, arguments, and how they ask the daemon. */
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { NvmeError } from '../api/error.ts';
import { ANA_STATES } from '../config/document.ts';
import { SOCKET_NAME, stateFolder } from '../daemon/folder.ts';
import { LOG_LEVELS } from '../daemon/log-levels.ts';
import { count, size } from './flags.ts';
import { type OutputFlags, print } from './print.ts';

/** Makes one verb: `add namespace [file]`, as commander has it. */
export type Make = (spec: string, description: string, example: string) => Command;
/** Adds the flag that names the subsystem. */
export type Named = (made: Command) => Command;

export interface Flags extends OutputFlags {
  readonly state?: string;
  readonly control?: string;
  /** The subsystem, where there are several. */
  readonly nqn?: string;
  readonly [key: string]: unknown;
}

type Params = Readonly<Record<string, unknown>>;
type Result = Readonly<Record<string, unknown>>;

const LAST_NSID = 0xffff_fffe;
export const nsid = count(1, LAST_NSID);
const cntlid = count(1, 0xffef);
export const group = count(1, 128);
export const text = (value: string): string => value;
const oneOf =
  (choices: readonly string[]) =>
  (value: string): string => {
    if (choices.includes(value)) return value;
    throw new InvalidArgumentError(`Allowed choices are ${choices.join(', ')}.`);
  };

/** For arguments, whose parsers commander does not guard. */
const given =
  <T>(what: string, parse: (text: string) => T) =>
  (value: string): T => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new NvmeError(`${what} ${JSON.stringify(value)}: ${error.message}`, { code: 'EINVAL' });
    }
  };
export const argument = {
  nsid: given('NSID', nsid),
  cntlid: given('CNTLID', cntlid),
  group: given('ANA group', group),
  size: given('size', size),
  state: given('ANA state', oneOf(ANA_STATES)),
  level: given('log level', oneOf(LOG_LEVELS)),
  onOff: given('argument', oneOf(['on', 'off'])),
};

export const NQN = 'nqn.2024-01.org.example:disk';

export async function ask(
  { state, control }: Flags,
  method: string,
  params: Params,
  progress?: (value: unknown) => void,
): Promise<Result> {
  const { request } = await import('../daemon/control-client.ts');
  const folder = stateFolder(state, process.env, process.getuid?.());
  const given = Object.entries(params).filter(([, value]) => value !== undefined);
  const path = control ?? process.env['NVMETCP_CONTROL'] ?? join(folder, SOCKET_NAME);
  return (await request(resolve(path), method, Object.fromEntries(given), progress)) as Result;
}

const DEFAULT = 'default';
/** The parser of a flag that takes `default` as well: what there is without it. */
export const orDefault =
  <T>(parse: (text: string) => T) =>
  (value: string): T | typeof DEFAULT =>
    value === DEFAULT ? DEFAULT : parse(value);
/** What the daemon is asked for then; commander would make an empty text of a null. */
export const nullIfDefault = (value: unknown): unknown => (value === DEFAULT ? null : value);

/** Lines of what was changed. */
export function changesText({ changes = [] }: { changes?: readonly string[] }): string {
  return changes.length === 0 ? 'nothing to change' : changes.join('\n');
}

export function printChanges(flags: Flags, result: Result): void {
  print(flags, result, changesText);
}
