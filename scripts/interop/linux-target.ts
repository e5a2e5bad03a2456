/** The kernel's target, nvmet, in the guest, with a relay before it that sees what our host does. */
import type { ConnectOptions } from '../../src/api/connect-options.ts';
import type { Guest } from './guest.ts';
import { Wire } from './wire.ts';

export interface LinuxTargetOptions {
  /** null_blk in memory (the default), or a file. */
  readonly backing?: 'null' | 'file';
  /** MiB; default 64. */
  readonly size?: number;
  readonly blockSize?: number;
}

/** Where nvmet listens in the guest. */
export const GUEST_PORT = 4420;

export class LinuxTarget {
  readonly nqn = 'nqn.2024-01.test.interop:linux';
  readonly wire: Wire;
  readonly #guest: Guest;

  private constructor(guest: Guest, wire: Wire) {
    this.#guest = guest;
    this.wire = wire;
  }

  /** `forward`: the port of 127.0.0.1 that leads to the guest's. */
  static async start(guest: Guest, forward: number, options: LinuxTargetOptions): Promise<LinuxTarget> {
    const wire = await Wire.open({ to: forward });
    const made = new LinuxTarget(guest, wire);
    const { backing = 'null', size = 64, blockSize = 512 } = options;
    await guest.run(
      `disk=$(backing ${backing} ${size} ${blockSize}) && target ${made.nqn} ${GUEST_PORT} $disk`,
    );
    return made;
  }

  /** What our host needs to know. */
  get address(): Pick<ConnectOptions, 'traddr' | 'trsvcid' | 'subnqn'> {
    return { traddr: '127.0.0.1', trsvcid: this.wire.port, subnqn: this.nqn };
  }

  /** For our command line. */
  get flags(): readonly string[] {
    return ['-a', '127.0.0.1', '-s', String(this.wire.port), '-n', this.nqn];
  }

  /** nvmet goes away, with every connection; and comes back, the same. */
  async down(): Promise<void> {
    await this.#guest.run(`unserve ${this.nqn} ${GUEST_PORT}`);
  }
  async up(): Promise<void> {
    await this.#guest.run(`serve ${this.nqn} ${GUEST_PORT}`);
  }

  async add(nsid: number, options: LinuxTargetOptions = {}): Promise<void> {
    const { backing = 'null', size = 64, blockSize = 512 } = options;
    await this.#guest.run(
      `disk=$(backing ${backing} ${size} ${blockSize}) && add_namespace ${this.nqn} ${nsid} $disk`,
    );
  }

  async stop(): Promise<void> {
    await this.wire.close();
  }
}
