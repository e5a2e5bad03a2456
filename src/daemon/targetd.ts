/**
 * The target daemon: flags, a configuration file and state become a running target, signals end it.
 *
 * What the state folder knows is the truth at a restart; flags add what is missing and never take away. A configuration
 * file is the whole truth, and is read again on SIGHUP. Nothing is written before all of it is known to work, and nobody
 * can connect before what is new is written.
 */
import { networkInterfaces } from 'node:os';
import {
  type TargetParts,
  addressesOf,
  assemble,
  checkHosts,
  describe,
  listenAddresses,
  unlockFolder,
} from '../api/target-parts.ts';
import { NvmeError } from '../api/error.ts';
import type { NamespaceRequest } from '../config/request.ts';
import { join } from 'node:path';
import { banner, reachable } from './banner.ts';
import { SOCKET_NAME } from './folder.ts';
import { ControlServer } from './control-server.ts';
import { createLogger } from './log.ts';
import type { LogFormat, LogLevel } from './log-levels.ts';
import { targetMethods } from './methods.ts';
import { Shutdown } from './shutdown.ts';
import { applyFile, startFromFlags, warnOfOpenDoors } from './startup.ts';

export interface TargetdOptions {
  readonly listen: readonly string[];
  /** Addresses where only discovery is offered. */
  readonly discovery?: readonly string[] | undefined;
  readonly nqn?: string | undefined;
  readonly namespaces: readonly NamespaceRequest[];
  /** Host NQNs; none: every host may connect. */
  readonly hosts: readonly string[];
  /** A configuration file, which says everything that the flags above could. */
  readonly config?: string | undefined;
  /** Absolute. */
  readonly folder: string;
  /** Path of the control socket; in the folder if not given. */
  readonly control?: string | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** How this program is called here, for the commands that it prints. */
  readonly command: string;
}

export interface RunningTargetd {
  readonly parts: TargetParts;
  /** What it is, and the commands that connect to it. */
  readonly hello: string;
  /** Resolves with the exit code when it has stopped. */
  readonly finished: Promise<number>;
  /** Stops in order. */
  stop(why: string): void;
  /** Reads the configuration file again; resolves when it is applied, or refused and logged. */
  reload(): Promise<void>;
}

/** Runs until a signal comes. The result is the exit code; rejects with an NvmeError when it cannot start. */
export async function targetd(options: TargetdOptions): Promise<number> {
  const write = (line: string): void => void process.stderr.write(line);
  let reload = (): void => undefined;
  // While it starts there is nothing to do: what it is about to be is in the file.
  process.on('SIGHUP', () => reload());
  const running = await startTargetd(options, write, (shutdown) => shutdown.watch());
  reload = () => void running.reload();
  process.stdout.write(running.hello);
  return running.finished;
}

/** `log` gets the lines; `watch` is called before anybody listens, to say what ends the daemon besides `stop`. */
export async function startTargetd(
  options: TargetdOptions,
  log: (line: string) => void,
  watch: (shutdown: Shutdown) => void = () => undefined,
): Promise<RunningTargetd> {
  const { folder, config } = options;
  const listen = listenAddresses(options.listen);
  const discovery = listenAddresses(options.discovery ?? []);
  checkHosts(options.hosts);
  const logger = createLogger(options.logLevel, options.logFormat, log);
  const parts = await assemble({ folder, logger });
  const { env, target, control } = parts;
  const shutdown = new Shutdown(env, target, control);
  const setLogLevel = (level: LogLevel): void => {
    logger.level = level;
    env.trace.debug = level === 'debug';
  };
  const server = new ControlServer(targetMethods({ ...parts, setLogLevel }));
  try {
    watch(shutdown);
    if (config === undefined) await startFromFlags(parts, { ...options, listen, discovery });
    else await applyFile(parts, config, true);
    warnOfOpenDoors(parts);
    await server.listen(options.control ?? join(folder, SOCKET_NAME));
  } catch (error) {
    await shutdown.atOnce();
    await unlockFolder(env);
    throw error;
  }
  const finish = async (): Promise<number> => {
    const clean = await shutdown.finished;
    await server.close();
    await unlockFolder(env);
    return clean ? 0 : 1;
  };
  return {
    parts,
    hello: hello(parts, options.command),
    finished: finish(),
    stop: (why) => shutdown.stop(why),
    reload: () => reload(parts, config),
  };
}

async function reload(parts: TargetParts, config: string | undefined): Promise<void> {
  const { trace } = parts.env;
  if (config === undefined) {
    trace.event('warn', 'SIGHUP: there is no configuration file to read again; --config names one', {});
    return;
  }
  try {
    const plan = await applyFile(parts, config, false);
    trace.event('info', `${config}: applied, changes: ${plan.length}`, {});
    warnOfOpenDoors(parts);
  } catch (error) {
    if (!(error instanceof NvmeError)) throw error;
    trace.event('error', `${config} is not applied, nothing has changed: ${error.message}`, {});
  }
}

function hello({ target }: TargetParts, command: string): string {
  const [subsystem, ...others] = target.subsystems.values();
  const port = subsystem && target.ports.list.find((each) => each.offers(subsystem));
  if (!subsystem || !port) return `there is nothing to connect to yet; "${command} target show" tells more\n`;
  return banner({
    nqn: subsystem.nqn,
    listening: addressesOf(target),
    address: reachable(port.address, networkInterfaces()),
    namespaces: [...subsystem.namespaces.values()].map(describe),
    host: subsystem.hosts && [...subsystem.hosts][0],
    others: others.length,
    command,
  });
}
