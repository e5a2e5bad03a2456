/** Our target, in this process, over a file, with a relay before it that sees what it does. */
import { rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { answer } from '../../src/api/answer.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import type { FileIo } from '../../src/runtime/ports.ts';
import type { Limits } from '../../src/target/limits.ts';
import type { Namespace } from '../../src/target/namespace.ts';
import type { Port } from '../../src/target/port.ts';
import type { Subsystem } from '../../src/target/subsystem.ts';
import { Target, type NamespaceOptions } from '../../src/target/target.ts';
import { Durability } from './durability.ts';
import type { Journal } from './journal.ts';
import { Wire } from './wire.ts';

export interface TestTargetOptions {
  /** Bytes of the first namespace; default 64 MiB. */
  readonly size?: number;
  readonly blockSize?: number;
  readonly limits?: Partial<Limits>;
}

export const MiB = 2 ** 20;

export class TestTarget {
  readonly nqn = 'nqn.2024-01.test.interop:ours';
  readonly blockSize: number;
  readonly durability: Durability;
  readonly target: Target;
  readonly subsystem: Subsystem;
  readonly #folder: string;
  readonly #files: string[] = [];
  #wire: Wire | undefined = undefined;
  readonly #wires: Wire[] = [];

  private constructor(options: TestTargetOptions, folder: string, journal: Journal) {
    this.blockSize = options.blockSize ?? 512;
    this.#folder = folder;
    this.durability = new Durability(this.blockSize, (nsid) => this.path(nsid));
    const real = nodeEnv({ logger: journal });
    this.target = new Target({ ...real, files: this.durability.files(real.files) }, options.limits);
    this.subsystem = this.target.addSubsystem({ nqn: this.nqn, serial: 'INTEROP2', model: 'nvme-tcp' });
  }

  /** It listens, and has one namespace. */
  static async start(options: TestTargetOptions, folder: string, journal: Journal): Promise<TestTarget> {
    const made = new TestTarget(options, folder, journal);
    await made.add(1, options.size ?? 64 * MiB);
    const port = await answer<Port>((done) => made.target.ports.listen({ host: '127.0.0.1', port: 0 }, done));
    made.#wire = await Wire.open({ to: port.address.port, listener: made.durability });
    return made;
  }

  get wire(): Wire {
    if (this.#wire === undefined) throw new Error('the target is not started');
    return this.#wire;
  }

  /** The port that hosts connect to. */
  get port(): number {
    return this.wire.port;
  }

  /** The file behind a namespace. */
  path(nsid: number): string {
    return join(this.#folder, `namespace-${nsid}.img`);
  }

  /** `identity`: the end of its UUID. */
  async add(nsid: number, size: number, identity = nsid): Promise<Namespace> {
    const file = await this.#open(nsid, size);
    this.#files.push(this.path(nsid));
    return this.target.addNamespace(this.subsystem, file, this.#options(nsid, identity));
  }

  /** One in memory. */
  addMemory(nsid: number, size: number): Namespace {
    const file = this.target.env.files.memory(size);
    return this.target.addNamespace(this.subsystem, file, this.#options(nsid));
  }

  /** Gives a disabled namespace its file again. */
  async enable(nsid: number): Promise<void> {
    const namespace = this.subsystem.namespaces.get(nsid);
    if (namespace) this.target.enableNamespace(namespace, await this.#open(nsid, undefined), false);
  }

  #open(nsid: number, createSize: number | undefined): Promise<FileIo> {
    const { files } = this.target.env;
    return answer<FileIo>((done) => files.open(this.path(nsid), { readOnly: false, createSize }, done));
  }

  #options(nsid: number, identity = nsid): NamespaceOptions {
    const uuid = `5c3f2a10-6c1e-4a53-9d5e-${String(identity).padStart(12, '0')}`;
    return { nsid, uuid, blockSize: this.blockSize, readOnly: false };
  }

  /** One more port, behind a relay of its own. */
  async listen(): Promise<{ readonly port: Port; readonly wire: Wire }> {
    const port = await answer<Port>((done) => this.target.ports.listen({ host: '127.0.0.1', port: 0 }, done));
    const wire = await Wire.open({ to: port.address.port, listener: this.durability });
    this.#wires.push(wire);
    return { port, wire };
  }

  async remove(nsid: number): Promise<void> {
    const removed = this.subsystem.remove(nsid);
    if (removed) await answer<undefined>((done) => removed.close(done));
  }

  async resize(nsid: number, size: number): Promise<void> {
    await truncate(this.path(nsid), size);
    const volume = this.subsystem.namespaces.get(nsid)?.volume;
    if (volume) await answer<undefined>((done) => volume.refresh(done));
  }

  /** Connections and controllers that it still has. */
  get left(): { readonly connections: number; readonly controllers: number } {
    const connections = [...this.target.ports.connections()].length;
    const { subsystem, target } = this;
    return { connections, controllers: subsystem.controllers.size + target.discovery.controllers.size };
  }

  async stop(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.target.stop(resolve));
    this.target.force();
    await this.#wire?.close();
    for (const wire of this.#wires) await wire.close();
    await stopped;
    for (const path of this.#files) await rm(path, { force: true });
  }
}
