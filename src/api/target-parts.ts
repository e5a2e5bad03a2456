/** A target and its control, put together; what createTarget and the daemon have in common. */
import type { NodeEnv } from '../runtime/node/env.ts';
import { nodeEnv } from '../runtime/node/env.ts';
import type { Logger } from '../runtime/node/trace.ts';
import { formatAddress, parseAddress, withoutCovered } from '../config/address.ts';
import { exportNamespaces } from '../config/export.ts';
import type { NamespaceRequest } from '../config/request.ts';
import type { TargetDocument } from '../config/document.ts';
import type { Limits } from '../target/limits.ts';
import type { Namespace } from '../target/namespace.ts';
import { Target } from '../target/target.ts';
import { nqnProblem } from '../nvme/nqn.ts';
import { resolve } from 'node:path';
import { answer, refusal } from './answer.ts';
import { lookAll } from './look.ts';
import { TargetControl, type Wanted } from './target-control.ts';
import { TargetState, randomUuid } from './target-state.ts';

export const DEFAULT_LISTEN = '127.0.0.1:4420';

export interface TargetPartsOptions {
  readonly folder: string | undefined;
  readonly logger?: Logger | undefined;
  readonly limits?: Partial<Limits> | undefined;
}

export interface TargetParts {
  readonly env: NodeEnv;
  readonly target: Target;
  readonly control: TargetControl;
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

/** Locks the folder and reads the state in it; nothing is written, nothing is exported and nobody listens yet. */
export async function assemble(options: TargetPartsOptions): Promise<TargetParts> {
  const { folder, logger, limits } = options;
  const env = openEnv(folder, logger);
  const store = env.stateFolder;
  if (store) await lockFolder(folder ?? '', store);
  try {
    const state = await TargetState.load(env, folder);
    const target = makeTarget(env, limits, state.discoveryNqn);
    return { env, target, control: new TargetControl(env, target, state) };
  } catch (error) {
    await unlockFolder(env);
    throw error;
  }
}

function makeTarget(env: NodeEnv, limits: Partial<Limits> | undefined, discoveryNqn: string): Target {
  try {
    return new Target(env, limits, { discoveryNqn });
  } catch (error) {
    if (error instanceof RangeError) throw refusal('EINVAL', error.message, error);
    throw error;
  }
}

export function unlockFolder({ stateFolder }: NodeEnv): Promise<void> {
  return new Promise((done) => {
    if (stateFolder) stateFolder.unlock(done);
    else done();
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
export function listenAddresses(texts: readonly string[]): string[] {
  const addresses = texts.map((text) => {
    const address = parseAddress(text);
    if (address) return address;
    throw refusal('EINVAL', `${JSON.stringify(text)} is not an address; 127.0.0.1:4420 and [::1]:4420 are`);
  });
  return withoutCovered(addresses).map(formatAddress);
}

export function checkHosts(hosts: readonly string[]): void {
  for (const host of hosts) {
    const problem = nqnProblem(host);
    if (problem !== undefined) throw refusal('EINVAL', `the host NQN ${problem}`);
  }
}

export interface WantedExports extends Required<Wanted> {
  /** Of each request. */
  readonly nsids: ReadonlyMap<NamespaceRequest, number>;
}

/** The document with the namespaces; looks at their files, and opens none. Throws a ConfigError. */
export async function withExports(
  { env, target, control }: TargetParts,
  document: TargetDocument,
  nqn: string,
  requests: readonly NamespaceRequest[],
): Promise<WantedExports> {
  const paths = requests.flatMap((request) =>
    'file' in request && request.file ? [resolve(request.file)] : [],
  );
  return exportNamespaces(document, nqn, requests, {
    seen: await lookAll(paths),
    resolve: (path) => resolve(path),
    newUuid: () => randomUuid(env.random),
    lastNsid: target.limits.namespaces,
    place: control.state.place,
  });
}

/** Exports one more while the target runs. Rejects with EBUSY when the file is exported already. */
export async function exportOne(
  parts: TargetParts,
  nqn: string,
  request: NamespaceRequest,
): Promise<Namespace> {
  const { control, target } = parts;
  let nsid = 0;
  await control.change(async (document) => {
    const wanted = await withExports(parts, document, nqn, [request]);
    nsid = wanted.nsids.get(request) ?? 0;
    if (target.subsystems.get(nqn)?.namespaces.has(nsid))
      throw refusal(
        'EBUSY',
        `${'file' in request ? request.file : 'memory'}: is in use already, as namespace ${nsid}`,
      );
    return wanted;
  });
  const namespace = target.subsystems.get(nqn)?.namespaces.get(nsid);
  if (!namespace) throw refusal('EIO', 'nothing was exported');
  return namespace;
}

export const addressesOf = (target: Target): string[] =>
  target.ports.list.map(({ address }) => formatAddress(address));
