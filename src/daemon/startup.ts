/**
 * From flags, a configuration file and what the state folder knows to the first change of a target: everything is
 * exported and listens, or it does not start. What only the state knows may be late; what is named now must work now.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatAddress, isLoopback } from '../config/address.ts';
import type { TargetDocument } from '../config/document.ts';
import { addSubsystem, listenAt, setHosts } from '../config/edit.ts';
import { type Change, keyOf } from '../config/plan.ts';
import type { NamespaceRequest } from '../config/request.ts';
import { refusal } from '../api/answer.ts';
import { inWords } from '../runtime/node/errors.ts';
import type { NvmeError } from '../api/error.ts';
import { parseConfig, withConfig } from '../api/target-config.ts';
import type { Wanted } from '../api/target-control.ts';
import { DEFAULT_LISTEN, type TargetParts, withExports } from '../api/target-parts.ts';
import { mainSubsystem } from '../api/target-state.ts';

const DEFAULT_SIZE = 1024 ** 3;

export interface StartFlags {
  readonly nqn?: string | undefined;
  /** Checked addresses. */
  readonly listen: readonly string[];
  /** Addresses for discovery alone. */
  readonly discovery: readonly string[];
  readonly namespaces: readonly NamespaceRequest[];
  readonly hosts: readonly string[];
  readonly folder: string;
}

/** Rejects with an NvmeError; nothing is exported then, and nothing new is kept. */
export async function startFromFlags(parts: TargetParts, flags: StartFlags): Promise<void> {
  const { control } = parts;
  const named = new Set<string>();
  await control.change((document) => wantedBy(parts, flags, document, named), {
    lenient: (change) => !named.has(nameOf(change)),
  });
  checkListening(parts);
  if ([...parts.target.subsystems.values()].every(({ namespaces }) => namespaces.size === 0))
    parts.env.trace.event('warn', 'there is no namespace to export; --file and --mem add one', {});
}

/** A port is known by its address here: its id may be new. */
const nameOf = (change: Change): string => (change.kind === 'add port' ? change.port.address : keyOf(change));

async function wantedBy(
  parts: TargetParts,
  flags: StartFlags,
  known: TargetDocument,
  named: Set<string>,
): Promise<Wanted> {
  const { state } = parts.control;
  const main = mainSubsystem(state, parts.env.random, flags);
  const { nqn } = main;
  let document = known.subsystems.some((subsystem) => subsystem.nqn === nqn)
    ? known
    : addSubsystem(main)(known);
  if (flags.hosts.length > 0) document = setHosts(nqn, [...(main.hosts ?? []), ...flags.hosts])(document);
  const isNew = known.ports.length === 0;
  const listen = flags.listen.length === 0 && isNew ? [DEFAULT_LISTEN] : flags.listen;
  for (const address of listen) document = listenAt(address, nqn)(document);
  for (const address of flags.discovery) document = listenAt(address, undefined)(document);
  for (const address of [...listen, ...flags.discovery]) named.add(address);
  const nothing = state.isNew && flags.namespaces.length === 0;
  const requests = nothing
    ? [{ file: join(flags.folder, 'disk.img'), size: DEFAULT_SIZE }]
    : flags.namespaces;
  const wanted = await withExports(parts, document, nqn, requests);
  for (const nsid of wanted.nsids.values()) named.add(`${nqn} ${nsid}`);
  return wanted;
}

/** An address that nobody can wait for, and no other: then it is better not to start. */
function checkListening({ control, target }: TargetParts): void {
  if (target.ports.list.length > 0) return;
  const errors = control.pending.flatMap(({ change, error }) => (change.kind === 'add port' ? [error] : []));
  const [first] = errors;
  if (first && !errors.some(isLate)) throw first;
}

/** No interface has it yet: a network that is not up. */
const isLate = ({ code }: NvmeError): boolean => code === 'EADDRNOTAVAIL';

/**
 * Makes the target what the file says. The first time, disks that are known may be late; later everything that is new
 * must work, or nothing changes. Rejects with an NvmeError.
 */
export async function applyFile(
  parts: TargetParts,
  path: string,
  first: boolean,
): Promise<readonly Change[]> {
  let json: string;
  try {
    json = await readFile(path, 'utf8');
  } catch (error) {
    throw refusal('EINVAL', `${path} cannot be read: ${inWords(error)}`, error);
  }
  let read;
  try {
    read = parseConfig(json);
  } catch (error) {
    if (error instanceof Error) throw refusal('EINVAL', `${path}: ${error.message}`, error);
    throw error;
  }
  for (const unsupported of read.unsupported)
    parts.env.trace.event(
      'warn',
      `${path}: ${unsupported.path} is not supported: ${unsupported.message}`,
      {},
    );
  const known = knownFiles(parts.control.wanted);
  const plan = await parts.control.change((document) => withConfig(parts, document, read), {
    lenient: (change, error) =>
      change.kind === 'add port' ? isLate(error) : first && known.has(keyOf(change)),
  });
  if (first) checkListening(parts);
  return plan;
}

const knownFiles = ({ subsystems }: TargetDocument): Set<string> =>
  new Set(subsystems.flatMap(({ nqn, namespaces }) => namespaces.map(({ nsid }) => `${nqn} ${nsid}`)));

/** Says which disks everybody can reach who reaches an address. */
export function warnOfOpenDoors({ env, target }: TargetParts): void {
  const open = target.ports.list.filter(
    (port) =>
      !isLoopback(port.address) &&
      [...target.subsystems.values()].some(
        (subsystem) => port.offers(subsystem) && subsystem.hosts === undefined,
      ),
  );
  if (open.length === 0) return;
  const where = open.map(({ address }) => formatAddress(address)).join(', ');
  env.trace.event(
    'warn',
    `every host may connect: whoever reaches ${where} can read, change and erase the disks; ` +
      '--host NQN admits only the host with that name (on Linux: cat /etc/nvme/hostnqn)',
    {},
  );
}
