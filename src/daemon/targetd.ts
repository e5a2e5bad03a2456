/**
 * The target daemon: flags and state become a running target, signals end it.
 *
 * What the state folder knows is the truth at a restart; flags add what is missing and never take away. Nothing is
 * written before every flag is known to work, and nobody listens before what is new is written.
 */
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Address } from '../runtime/ports.ts';
import { formatAddress, isLoopback, parseAddress, withoutCovered } from '../config/address.ts';
import { NvmeError } from '../api/error.ts';
import type { NamespaceRequest } from '../api/exports.ts';
import type { TargetDocument } from '../api/target-document.ts';
import {
  DEFAULT_LISTEN,
  type TargetParts,
  addressesOf,
  assemble,
  checkHosts,
  describe,
  listenAddresses,
  unlockFolder,
} from '../api/target-parts.ts';
import { banner, reachable } from './banner.ts';
import { Listeners, probe } from './listeners.ts';
import { type LogFormat, type LogLevel, createLogger } from './log.ts';
import { Shutdown } from './shutdown.ts';

export interface TargetdOptions {
  readonly listen: readonly string[];
  readonly nqn?: string | undefined;
  readonly namespaces: readonly NamespaceRequest[];
  /** Host NQNs; none: every host may connect. */
  readonly hosts: readonly string[];
  /** Absolute. */
  readonly folder: string;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** How this program is called here, for the commands that it prints. */
  readonly command: string;
}

const DEFAULT_SIZE = 1024 ** 3;

export interface RunningTargetd {
  readonly parts: TargetParts;
  /** What it is, and the commands that connect to it. */
  readonly hello: string;
  /** Resolves with the exit code when it has stopped. */
  readonly finished: Promise<number>;
  /** Stops in order. */
  stop(why: string): void;
}

/** Runs until a signal comes. The result is the exit code; rejects with an NvmeError when it cannot start. */
export async function targetd(options: TargetdOptions): Promise<number> {
  const write = (line: string): void => void process.stderr.write(line);
  const running = await startTargetd(options, write, (shutdown) => shutdown.watch());
  process.stdout.write(running.hello);
  return running.finished;
}

/** `log` gets the lines; `watch` is called before anybody listens, to say what ends the daemon besides `stop`. */
export async function startTargetd(
  options: TargetdOptions,
  log: (line: string) => void,
  watch: (shutdown: Shutdown) => void = () => undefined,
): Promise<RunningTargetd> {
  const { folder, nqn } = options;
  const wanted = listenAddresses(options.listen);
  checkHosts(options.hosts);
  const parts = await assemble({
    folder,
    nqn,
    logger: createLogger(options.logLevel, options.logFormat, log),
  });
  const { env, target } = parts;
  const listeners = new Listeners(env, target);
  const shutdown = new Shutdown(env, target, listeners);
  try {
    watch(shutdown);
    await start(parts, listeners, options, wanted);
  } catch (error) {
    await shutdown.atOnce();
    await unlockFolder(env);
    throw error;
  }
  const finish = async (): Promise<number> => {
    const clean = await shutdown.finished;
    await unlockFolder(env);
    return clean ? 0 : 1;
  };
  return {
    parts,
    hello: hello(parts, options.command),
    finished: finish(),
    stop: (why) => shutdown.stop(why),
  };
}

async function start(
  parts: TargetParts,
  listeners: Listeners,
  options: TargetdOptions,
  wanted: readonly Address[],
): Promise<void> {
  const { env, state, subsystem, exports } = parts;
  const before = state.document;
  const { listen, must, may } = planListen(before.listen, wanted);
  for (const address of must) await probe(env, address);

  const hosts = [...new Set([...(before.hosts ?? []), ...options.hosts])];
  const admitted: Partial<TargetDocument> = before.hosts || hosts.length > 0 ? { hosts } : {};
  const nothing = state.isNew && options.namespaces.length === 0;
  const requests = nothing
    ? [{ file: join(options.folder, 'disk.img'), size: DEFAULT_SIZE }]
    : options.namespaces;
  if (admitted.hosts) subsystem.setHosts(hosts);
  await exports.add(requests, { ...admitted, listen });
  await restore(parts);
  warn(parts, [...must, ...may]);
  await listeners.start(must, may);
}

interface ListenPlan {
  /** What the state knows from now on. A port that the system chooses is nothing to come back to. */
  readonly listen: readonly string[];
  /** Named by a flag: must work. */
  readonly must: readonly Address[];
  /** Known from before. */
  readonly may: readonly Address[];
}

export function planListen(before: readonly string[], flags: readonly Address[]): ListenPlan {
  const known = before.map((text) => parseAddress(text)).filter((address) => address !== undefined);
  const standard = known.length + flags.length === 0 ? [parseAddress(DEFAULT_LISTEN)] : [];
  const must = [...flags, ...standard.filter((address) => address !== undefined)];
  const listen = [...before, ...must.filter(({ port }) => port !== 0).map(formatAddress)];
  const flagged = new Set(must.map(formatAddress));
  const others = known.filter((address) => !flagged.has(formatAddress(address)));
  const needed = withoutCovered([...must, ...others]);
  return {
    listen: [...new Set(listen)],
    must: needed.filter((address) => must.includes(address)),
    may: needed.filter((address) => others.includes(address)),
  };
}

/** A disk that is not there does not keep the others away from their hosts; its NSID waits for it. */
async function restore({ env, state, subsystem, exports }: TargetParts): Promise<void> {
  for (const entry of state.document.namespaces) {
    if (subsystem.namespaces.has(entry.nsid)) continue;
    try {
      await exports.restore(entry);
    } catch (error) {
      if (!(error instanceof NvmeError)) throw error;
      env.trace.event('error', `namespace ${entry.nsid} is not exported: ${error.message}`, {});
    }
  }
  if (subsystem.namespaces.size === 0)
    env.trace.event('warn', 'there is no namespace to export; --file and --mem add one', {});
}

function warn({ env, subsystem }: TargetParts, addresses: readonly Address[]): void {
  const open = addresses.filter((address) => !isLoopback(address));
  if (open.length === 0 || subsystem.hosts !== undefined) return;
  const where = open.map(formatAddress).join(', ');
  env.trace.event(
    'warn',
    `every host may connect: whoever reaches ${where} can read, change and erase the disks; ` +
      '--host NQN admits only the host with that name (on Linux: cat /etc/nvme/hostnqn)',
    {},
  );
}

function hello({ target, subsystem }: TargetParts, command: string): string {
  const [port] = target.ports;
  return banner({
    nqn: subsystem.nqn,
    listening: addressesOf(target),
    address: reachable(port?.address ?? { host: '127.0.0.1', port: 4420 }, networkInterfaces()),
    namespaces: [...subsystem.namespaces.values()].map(describe),
    host: subsystem.hosts && [...subsystem.hosts][0],
    command,
  });
}
