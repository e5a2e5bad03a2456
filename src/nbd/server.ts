/**
 * The NBD server: exports, and the clients that use them. It is given connections by whoever listens, and listens to
 * nothing itself.
 */
import { assert } from '../runtime/assert.ts';
import type { Env, Transport } from '../runtime/ports.ts';
import { Buffers } from './buffers.ts';
import { Connection } from './connection.ts';
import { Export } from './export.ts';
import { DEFAULT_NBD_LIMITS, type NbdLimits } from './limits.ts';
import type { BlockDevice } from './device.ts';

export class NbdServer {
  readonly env: Pick<Env, 'clock' | 'trace'>;
  readonly limits: NbdLimits;
  /** By name, in the order in which they were added. */
  readonly exports = new Map<string, Export>();
  readonly connections = new Set<Connection>();
  readonly buffers: Buffers;
  stopping = false;
  #ids = 0;
  /** Called when nothing is left. */
  #stopped: (() => void)[] = [];

  constructor(env: Pick<Env, 'clock' | 'trace'>, limits: Partial<NbdLimits> = {}) {
    this.env = env;
    this.limits = { ...DEFAULT_NBD_LIMITS, ...limits };
    this.buffers = new Buffers(this.limits.spareBytes);
  }

  /** Offers a disk. The name is up to 4,096 bytes of UTF-8 and not in use. */
  add(name: string, description: string, device: BlockDevice): Export {
    assert(!this.exports.has(name), `export ${name} is there once`);
    const made = new Export(name, description, device);
    this.exports.set(name, made);
    return made;
  }

  /** Takes an export away. Its clients are answered what is under way, and disconnected. */
  remove(name: string): void {
    const found = this.exports.get(name);
    this.exports.delete(name);
    for (const connection of [...this.connections])
      if (found !== undefined && connection.export === found) connection.close('the export is taken away');
  }

  /** The export of that name. The empty name is the default: the first one. */
  find(name: string): Export | undefined {
    const [first] = this.exports.values();
    return this.exports.get(name) ?? (name === '' ? first : undefined);
  }

  /** A client has come. */
  accept(transport: Transport): void {
    if (this.stopping || this.connections.size >= this.limits.connections) {
      const why = this.stopping ? 'the server stops' : 'there are too many';
      this.env.trace.event('warn', 'nbd client turned away', { why });
      transport.start({ data: () => undefined, end: () => undefined, closed: () => undefined });
      transport.close();
      return;
    }
    const connection = new Connection(this, transport, ++this.#ids);
    this.connections.add(connection);
    connection.start();
  }

  forget(connection: Connection): void {
    this.connections.delete(connection);
    this.#settle();
  }

  /** Finishes what is under way for every client, then disconnects it. `done` is called when none is left. */
  stop(done: () => void): void {
    this.stopping = true;
    this.#stopped.push(done);
    for (const connection of [...this.connections]) connection.close('the server stops');
    this.#settle();
  }

  /** Gives up what is under way: its clients are not answered. */
  force(): void {
    for (const connection of [...this.connections]) connection.force();
  }

  #settle(): void {
    if (!this.stopping || this.connections.size > 0) return;
    const waiting = this.#stopped;
    this.#stopped = [];
    for (const done of waiting) done();
  }

  /** For tests, after an event. */
  invariants(): void {
    for (const connection of this.connections) connection.invariants();
    for (const { device } of this.exports.values()) device.invariants();
    if (this.connections.size === 0) assert(this.buffers.lent === 0, 'buffers that nobody has');
  }
}
