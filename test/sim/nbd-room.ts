/**
 * The NBD server of one host, with the heads that clients ask for, on a socket that only this machine sees. What it asks
 * of a head is kept, so that the oracle knows what became of a request whose client has gone.
 */
import { HeadDevice } from '../../src/api/head-device.ts';
import type { Head } from '../../src/initiator/head.ts';
import type { Io } from '../../src/initiator/io.ts';
import type { Connection } from '../../src/nbd/connection.ts';
import type { Export } from '../../src/nbd/export.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import type { Address, Listener } from '../../src/runtime/ports.ts';
import { watchWires } from './client.ts';
import type { HostMachine } from './host-machine.ts';
import type { World } from './world.ts';

/** Small, so that requests wait for their turn and reads are answered in pieces. */
const LIMITS = { requests: 4, readChunk: 4096, spareBytes: 16_384 };

/** An I/O that the server asked a head for. */
export type Served = ReturnType<typeof watchWires> & { readonly io: Io; readonly head: Head };

export class NbdRoom {
  readonly world: World;
  readonly host: HostMachine;
  readonly server: NbdServer;
  readonly address: Address;
  readonly served: Served[] = [];
  /** By the client's port. */
  readonly connections = new Map<number, Connection>();
  readonly #heads = new Map<string, Head>();
  /** Those that are gone too: their clients may not have left yet. */
  readonly #exported = new WeakMap<Export, Head>();
  readonly #unwatch: () => void;
  #listener: Listener | undefined = undefined;

  constructor(world: World, host: HostMachine) {
    this.world = world;
    this.host = host;
    this.address = { host: `${host.name}.nbd`, port: 10_809 };
    this.server = new NbdServer({ clock: host.process, trace: world.trace.port(`${host.name} nbd`) }, LIMITS);
    this.#unwatch = host.registry.journal.listen(() => host.process.defer(() => this.#look()));
  }

  start(): void {
    this.world.local.port(this.host.process).listen(
      this.address,
      (transport) => {
        this.server.accept(transport);
        const made = [...this.server.connections].at(-1);
        if (made !== undefined) this.connections.set(transport.remote.port, made);
      },
      (_, listener) => {
        this.#listener = listener;
      },
    );
  }

  /** Serves the disk, under its name. */
  offer(head: Head): void {
    this.#look();
    if (head.gone || this.#heads.has(head.name)) return;
    this.#heads.set(head.name, head);
    const disk = {
      get blocks() {
        return head.blocks;
      },
      get blockSize() {
        return head.blockSize;
      },
      get info() {
        return head.info;
      },
      get subsystem() {
        return head.subsystem;
      },
      submit: (io: Io) => {
        this.served.push({ ...watchWires(this.world, io), io, head });
        head.submit(io);
      },
    };
    this.#exported.set(this.server.add(head.name, '', new HeadDevice(disk)), head);
  }

  /** Disks that are gone are taken away. */
  #look(): void {
    for (const [name, head] of this.#heads)
      if (head.gone) {
        this.#heads.delete(name);
        this.server.remove(name);
      }
  }

  /** After an event. NUM.7: a disk that a client has open keeps its subsystem. */
  check(): void {
    this.server.invariants();
    for (const { id, export: chosen } of this.server.connections) {
      const head = chosen && this.#exported.get(chosen);
      if (head === undefined || !head.gone) continue;
      const { name, gone, heads } = head.subsystem;
      if (gone)
        this.world.violation('NUM.7', `${name} is gone, and client ${id} has ${head.name} open`, [name]);
      if (heads.length === 0) this.world.mark('NUM.7 a client keeps a subsystem that has no disk');
    }
  }

  stop(done: () => void): void {
    this.#unwatch();
    const then = (): void => this.server.stop(done);
    if (this.#listener === undefined) then();
    else this.#listener.close(then);
  }

  /** What is left of it that should not be. */
  left(): string[] {
    const { connections, buffers } = this.server;
    return [
      ...[...connections].map(({ id, state }) => `nbd client ${id} ${state.now}`),
      ...(buffers.lent > 0 ? [`${buffers.lent} nbd buffers`] : []),
      ...this.world.local.open(this.host.process).map(({ name }) => `nbd socket ${name}`),
    ];
  }
}
