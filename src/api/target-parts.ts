/** The core of a target with one subsystem, put together; what createTarget and the daemon have in common. */
import type { NodeEnv } from '../runtime/node/env.ts';
import { nodeEnv } from '../runtime/node/env.ts';
import type { Logger } from '../runtime/node/trace.ts';
import type { Limits } from '../target/limits.ts';
import type { Namespace } from '../target/namespace.ts';
import type { Port } from '../target/port.ts';
import type { Subsystem } from '../target/subsystem.ts';
import { Target } from '../target/target.ts';
import { nqnProblem } from '../nvme/nqn.ts';
import { formatAddress, parseAddress, withoutCovered } from '../config/address.ts';
import { answer, refusal } from './answer.ts';
import { Exports } from './exports.ts';
import { TargetState, type WantedIdentity } from './target-state.ts';
import type { Address } from '../runtime/ports.ts';

export const DEFAULT_LISTEN = '127.0.0.1:4420';

export interface TargetPartsOptions extends WantedIdentity {
  readonly folder: string | undefined;
  readonly logger?: Logger | undefined;
  readonly limits?: Partial<Limits> | undefined;
}

export interface TargetParts {
  readonly env: NodeEnv;
  readonly state: TargetState;
  readonly target: Target;
  readonly subsystem: Subsystem;
  readonly exports: Exports;
}

/** A namespace, for people. Sizes in bytes. */
export interface NamespaceInfo {
  readonly nsid: number;
  readonly uuid: string;
  /** Undefined: it is in memory. */
  readonly path: string | undefined;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
}

/** Locks the folder and reads the state in it; nothing is written and nobody listens yet. */
export async function assemble(options: TargetPartsOptions): Promise<TargetParts> {
  const { folder, logger, limits } = options;
  const env = openEnv(folder, logger);
  const store = env.stateFolder;
  if (store) await lockFolder(folder ?? '', store);
  try {
    const state = await TargetState.load(env, folder, options);
    const target = new Target(env, limits);
    const { nqn, serial, model } = state.document;
    const subsystem = target.addSubsystem({ nqn, serial, model });
    return { env, state, target, subsystem, exports: new Exports(env, target, subsystem, state) };
  } catch (error) {
    await unlockFolder(env);
    throw error;
  }
}

export function unlockFolder({ stateFolder }: NodeEnv): Promise<void> {
  return new Promise((resolve) => {
    if (stateFolder) stateFolder.unlock(resolve);
    else resolve();
  });
}

function openEnv(folder: string | undefined, logger: Logger | undefined): NodeEnv {
  try {
    return nodeEnv({ stateFolder: folder, logger });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw refusal('EACCES', `the state folder cannot be used: ${message}`, error);
  }
}

async function lockFolder(folder: string, store: NonNullable<NodeEnv['stateFolder']>): Promise<void> {
  try {
    await answer<undefined>((done) => store.lock(done));
  } catch (error) {
    throw refusal('EBUSY', `the state folder ${folder} is in use by another target`, error);
  }
}

export function describe({ nsid, uuid, blockSize, size, file }: Namespace): NamespaceInfo {
  const { path, readOnly, id } = file;
  return { nsid, uuid, path: id.startsWith('memory:') ? undefined : path, size, blockSize, readOnly };
}

/** Checked, without those that another one makes superfluous. Throws an NvmeError. */
export function listenAddresses(texts: readonly string[]): Address[] {
  const addresses = texts.map((text) => {
    const address = parseAddress(text);
    if (address) return address;
    throw refusal('EINVAL', `${JSON.stringify(text)} is not an address; 127.0.0.1:4420 and [::1]:4420 are`);
  });
  return withoutCovered(addresses);
}

export function checkHosts(hosts: readonly string[]): void {
  for (const host of hosts) {
    const problem = nqnProblem(host);
    if (problem !== undefined) throw refusal('EINVAL', `the host NQN ${problem}`);
  }
}

export const listenOn = (target: Target, address: Address): Promise<Port> =>
  answer<Port>((done) => target.listen(address, done));

export const addressesOf = (target: Target): string[] =>
  target.ports.map(({ address }) => formatAddress(address));
