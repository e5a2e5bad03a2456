/**
 * The host daemon: keeps controllers and connects them again after its own restart, answers on a control socket, and
 * offers every head as an NBD export. Signals end it, within a bound, whatever its clients do (PORT.11).
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { refusal } from '../api/answer.ts';
import { NvmeError } from '../api/error.ts';
import { createHost } from '../api/host.ts';
import { ConfigError } from '../config/problem.ts';
import { type NodeEnv, nodeEnv } from '../runtime/node/env.ts';
import { Lock } from '../runtime/node/lock.ts';
import type { Timer } from '../runtime/ports.ts';
import { HOST_SOCKET_NAME } from './folder.ts';
import { ControlServer } from './control-server.ts';
import { endByFault } from './fault.ts';
import { DOCUMENT } from './host-document.ts';
import { HostExports } from './host-exports.ts';
import { HostKeeper } from './host-keeper.ts';
import { hostMethods } from './host-methods.ts';
import { createLogger } from './log.ts';
import type { LogFormat, LogLevel } from './log-levels.ts';

export interface HostdOptions {
  /** Absolute. */
  readonly folder: string;
  /** Path of the control socket; in the folder if not given. */
  readonly control?: string | undefined;
  /** Folder of the NBD sockets; undefined: there are none. */
  readonly nbd?: string | undefined;
  /** Who it is; else as /etc/nvme says, else made once and kept. */
  readonly hostnqn?: string | undefined;
  readonly hostid?: string | undefined;
  /** Where hostnqn and hostid are looked for. Default: /etc/nvme. */
  readonly etc?: string | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** How this program is called here, for the commands that it prints. */
  readonly command: string;
}

export interface RunningHostd {
  readonly keeper: HostKeeper;
  readonly hello: string;
  /** Resolves with the exit code when it has stopped. */
  readonly finished: Promise<number>;
  /** Stops in order; a second call does not wait any more. */
  stop(why: string): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/** For NBD clients to get their answers, ms. */
const NBD_PATIENCE = 3000;
/** For everything, ms: controllers that do not answer are given up by themselves before. */
const PATIENCE = 20_000;

/** Runs until a signal comes. The result is the exit code; rejects with an NvmeError when it cannot start. */
export async function hostd(options: HostdOptions): Promise<number> {
  const write = (line: string): void => void process.stderr.write(line);
  let env: NodeEnv | undefined;
  const fault = (error: unknown): void => {
    if (env === undefined) throw error;
    endByFault('hostd', env, error);
  };
  const running = await startHostd(options, write, (made) => {
    env = made;
    process.on('uncaughtException', fault);
    process.on('unhandledRejection', fault);
  });
  for (const name of SIGNALS) process.on(name, () => running.stop(name));
  process.stdout.write(running.hello);
  return running.finished;
}

/** `log` gets the lines; `made` is called before anything is connected. */
export async function startHostd(
  options: HostdOptions,
  log: (line: string) => void,
  made: (env: NodeEnv) => void = () => undefined,
): Promise<RunningHostd> {
  const { folder, hostnqn, hostid, etc } = options;
  const logger = createLogger(options.logLevel, options.logFormat, log);
  const env = openEnv(folder, logger);
  made(env);
  const lock = await lockFolder(folder);
  const unlock = (): Promise<void> => new Promise((resolve) => lock.release(resolve));
  const host = createHost({ env, hostnqn, hostid, etc });
  const keeper = new HostKeeper(env, host);
  let exports: HostExports | undefined;
  const setLogLevel = (level: LogLevel): void => {
    logger.level = level;
    env.trace.debug = level === 'debug';
  };
  const control = options.control ?? join(folder, HOST_SOCKET_NAME);
  let server: ControlServer | undefined;
  try {
    // A host that nobody knows by name cannot connect anything.
    await keeper.identity();
    if (options.nbd !== undefined) exports = new HostExports(env, keeper.registry, options.nbd);
    server = new ControlServer(hostMethods({ env, keeper, exports, setLogLevel }));
    await server.listen(control);
    await keeper.start();
  } catch (error) {
    await server?.close();
    await exports?.close(0);
    await keeper.stop();
    await unlock();
    if (error instanceof ConfigError)
      throw refusal(error.code, `${join(folder, DOCUMENT)}: ${error.message}`, error);
    throw error;
  }
  const ending = new Ending(env, async () => {
    await server.close();
    // Clients first: what they have written goes out while there are paths.
    await exports?.close(NBD_PATIENCE);
    await keeper.stop();
  });
  return {
    keeper,
    hello: hello(keeper, control, options),
    finished: ending.finished.then(async (code) => {
      await unlock();
      return code;
    }),
    stop: (why) => ending.stop(why),
  };
}

function hello(keeper: HostKeeper, control: string, { nbd, command }: HostdOptions): string {
  const { connections, following } = keeper.document;
  const again = connections.length + following.length;
  return [
    `the host daemon answers on ${control}${again > 0 ? `, and connects ${again} again` : ''}`,
    ...(nbd === undefined ? [] : [`  disks are NBD exports in ${nbd}`]),
    `  ${command} host connect -a ADDRESS -s 4420 -n NQN`,
    `  ${command} host list`,
    '',
  ].join('\n');
}

/** The end, in order and once, and in any case within `PATIENCE`. */
class Ending {
  /** The exit code. */
  readonly finished: Promise<number>;
  readonly #env: NodeEnv;
  readonly #end: () => Promise<void>;
  #finish: (code: number) => void = () => undefined;
  #begun = false;
  #timer: Timer | undefined = undefined;

  constructor(env: NodeEnv, end: () => Promise<void>) {
    this.#env = env;
    this.#end = end;
    this.finished = new Promise((resolve) => (this.#finish = resolve));
  }

  stop(why: string): void {
    if (this.#begun) {
      this.#over(1, `a second ${why}: not waiting any longer`);
      return;
    }
    this.#begun = true;
    this.#env.trace.event('info', `${why}: stops; a second one does not wait`, {});
    this.#timer = this.#env.clock.timer('waits for the end', PATIENCE, () =>
      this.#over(1, `${why} was ${PATIENCE / 1000} s ago: not waiting any longer`),
    );
    void this.#end().then(() => this.#over(0, undefined));
  }

  #over(code: number, why: string | undefined): void {
    this.#timer?.cancel();
    if (why !== undefined) this.#env.trace.event('warn', why, {});
    this.#finish(code);
  }
}

function openEnv(folder: string, logger: ReturnType<typeof createLogger>): NodeEnv {
  try {
    return nodeEnv({ stateFolder: folder, logger });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw refusal('EACCES', `the state folder cannot be used: ${message}`, error);
  }
}

/** One host daemon for a folder; a target may share it, because their documents are others. */
async function lockFolder(folder: string): Promise<Lock> {
  const { dev, ino } = statSync(folder, { bigint: true });
  return new Promise((resolve, reject) => {
    Lock.take(`hostd:${dev}:${ino}`, false, (error, lock) => {
      if (lock !== undefined) resolve(lock);
      else
        reject(
          new NvmeError(`the state folder ${folder} is in use by another host daemon`, {
            code: error?.code ?? 'EBUSY',
          }),
        );
    });
  });
}
