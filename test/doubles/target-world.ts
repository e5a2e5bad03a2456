/** A target in a world of its own: one subsystem, one namespace over a file that can be made to fail, one port. */
import { memoryEnv, type MemoryEnv } from '../../src/runtime/memory/env.ts';
import type { MemoryNetOptions } from '../../src/runtime/memory/net.ts';
import type { Limits } from '../../src/target/limits.ts';
import type { Namespace } from '../../src/target/namespace.ts';
import type { Subsystem } from '../../src/target/subsystem.ts';
import { Target, type NamespaceOptions, type TargetOptions } from '../../src/target/target.ts';
import type { Port } from '../../src/target/port.ts';
import type { ListenOptions } from '../../src/target/ports.ts';
import { NvmHost, type NvmHostOptions } from './nvm-host.ts';
import { WireHost } from './wire-host.ts';
import type { FileIo } from '../../src/runtime/ports.ts';

export const NQN = 'nqn.2024-01.test:one';
export const UUID = '6b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b10';

export class TargetWorld {
  readonly env: MemoryEnv;
  readonly target: Target;
  readonly subsystem: Subsystem;
  readonly namespace: Namespace;
  readonly port: number;

  constructor(
    limits: Partial<Limits> = {},
    options: {
      net?: MemoryNetOptions;
      blockSize?: number;
      file?: (env: MemoryEnv) => FileIo;
      readOnly?: boolean;
      target?: TargetOptions;
    } = {},
  ) {
    this.env = memoryEnv(1, options.net);
    this.target = new Target(this.env, limits, options.target);
    this.subsystem = this.target.addSubsystem({ nqn: NQN, serial: 'S1', model: 'test' });
    const file = options.file?.(this.env) ?? this.env.files.memory(2 ** 20);
    this.namespace = this.target.addNamespace(this.subsystem, file, {
      nsid: 1,
      uuid: UUID,
      blockSize: options.blockSize ?? 512,
      readOnly: options.readOnly ?? false,
    });
    let port = 0;
    this.target.ports.listen({ host: '127.0.0.1', port: 0 }, (error, made) => {
      if (made === undefined) throw new Error(error?.message);
      port = made.address.port;
    });
    this.env.clock.settle();
    this.port = port;
  }

  /** One more namespace, in memory. */
  add(nsid: number, options: Partial<NamespaceOptions> = {}, subsystem = this.subsystem): Namespace {
    return this.target.addNamespace(subsystem, this.env.files.memory(2 ** 16), {
      nsid,
      uuid: `6b2f8f6c-6e0b-4cc1-8f8e-${nsid.toString(16).padStart(12, '0')}`,
      blockSize: 512,
      readOnly: false,
      ...options,
    });
  }

  /** One more port. */
  listen(host: string, port: number, options?: ListenOptions): Port {
    let made: Port | undefined;
    this.target.ports.listen(
      { host, port },
      (error, listening) => {
        if (error !== undefined) throw new Error(error.message);
        made = listening;
      },
      options,
    );
    this.env.clock.settle();
    return made!;
  }

  /** Host `name` connects, over the first port if none is given. */
  host(name: string, options: Partial<Omit<NvmHostOptions, 'env' | 'name'>> = {}): NvmHost {
    const address = { host: '127.0.0.1', port: this.port };
    return new NvmHost({ env: this.env, address, nqn: NQN, name, ...options });
  }

  open(): WireHost {
    return WireHost.open(this.env, this.port);
  }

  /** An Admin queue and an I/O queue, ready to use. */
  up(options: Parameters<WireHost['ioUp']>[2] = {}): { admin: WireHost; io: WireHost; cntlid: number } {
    const admin = this.open();
    const cntlid = admin.up(NQN, options);
    const io = this.open();
    io.ioUp(NQN, cntlid, options);
    return { admin, io, cntlid };
  }

  settle(): void {
    this.env.clock.settle();
    this.target.invariants();
  }
}
