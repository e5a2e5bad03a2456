import type { Env, StateStore } from '../ports.ts';
import { type Logger, NodeTrace } from './trace.ts';
import { MemoryStore } from '../memory/store.ts';
import { NodeClock } from './clock.ts';
import { NodeFiles } from './files.ts';
import { NodeInterfaces } from './interfaces.ts';
import { NodeNet } from './net.ts';
import { NodeRandom } from './random.ts';
import { NodeStore } from './store.ts';
import { Syscalls } from './syscalls.ts';
import { nodeCrypto } from './crypto.ts';

export interface NodeEnvOptions {
  /** Path; made when it does not exist. Without one, state lives in memory and crashes leave no trace. */
  readonly stateFolder?: string | undefined;
  /** A pino logger, or anything with its four methods. */
  readonly logger?: Logger | undefined;
}

export interface NodeEnv extends Env {
  readonly trace: NodeTrace;
  /** The state folder, to be locked by a process that is its only user. */
  readonly stateFolder: NodeStore | undefined;
}

/** The real world. Throws when the state folder cannot be made. */
export function nodeEnv(options: NodeEnvOptions = {}): NodeEnv {
  const { stateFolder: folder, logger } = options;
  const clock = new NodeClock();
  const syscalls = Syscalls.load();
  const stateFolder = folder === undefined ? undefined : new NodeStore(folder, syscalls);
  const store: StateStore = stateFolder ?? new MemoryStore(clock);
  return {
    clock,
    random: new NodeRandom(),
    net: new NodeNet(),
    interfaces: new NodeInterfaces(clock),
    files: new NodeFiles(clock, syscalls),
    store,
    crypto: nodeCrypto(),
    trace: new NodeTrace(logger, folder),
    stateFolder,
  };
}
