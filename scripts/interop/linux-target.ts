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
  /** How many ports offer it; default 1. */
  readonly ports?: 1 | 2;
  /** Over another disk than a new one: text of a step that sets `disk`. */
  readonly over?: string;
  /** Of the namespace; default: one that the kernel makes up. */
  readonly uuid?: string;
}

/** Where nvmet listens in the guest. */
export const GUEST_PORTS = [4420, 4421] as const;

export class LinuxTarget {
  readonly nqn = 'nqn.2024-01.test.interop:linux';
  /** One relay for each port. */
  readonly wires: readonly Wire[];
  /** The one that there is: it may be booted anew. */
  readonly #guest: () => Guest;
  readonly #options: LinuxTargetOptions;

  private constructor(guest: () => Guest, wires: readonly Wire[], options: LinuxTargetOptions) {
    this.#guest = guest;
    this.wires = wires;
    this.#options = options;
  }

  /** `forwards`: the ports of 127.0.0.1 that lead to the guest's. */
  static async start(
    guest: () => Guest,
    forwards: readonly number[],
    options: LinuxTargetOptions,
  ): Promise<LinuxTarget> {
    const { ports = 1 } = options;
    const wires = await Promise.all(forwards.slice(0, ports).map((to) => Wire.open({ to })));
    const made = new LinuxTarget(guest, wires, options);
    await made.setUp();
    return made;
  }

  /** Makes it in the guest; once more after a reboot. */
  async setUp(): Promise<void> {
    const { backing = 'null', size = 64, blockSize = 512, ports = 1, over, uuid } = this.#options;
    await this.#guest().run(
      `${over ?? `disk=$(backing ${backing} ${size} ${blockSize})`} && target ${this.nqn} ${GUEST_PORTS[0]} $disk ${uuid ?? ''}
      ${ports === 2 ? `port ${GUEST_PORTS[1]} && serve ${this.nqn} ${GUEST_PORTS[1]}` : ''}`,
    );
  }

  get wire(): Wire {
    return this.wires[0]!;
  }

  /** What our host needs to know. */
  get address(): Pick<ConnectOptions, 'traddr' | 'trsvcid' | 'subnqn'> {
    return { traddr: '127.0.0.1', trsvcid: this.wire.port, subnqn: this.nqn };
  }

  /** For our command line. */
  get flags(): readonly string[] {
    return ['-a', '127.0.0.1', '-s', String(this.wire.port), '-n', this.nqn];
  }

  /** The same, and the other port as one more way. */
  get addresses(): Pick<ConnectOptions, 'traddr' | 'trsvcid' | 'subnqn' | 'ways'> {
    const ways = this.wires.slice(1).map(({ port }) => ({ traddr: '127.0.0.1', trsvcid: port }));
    return { ...this.address, ways };
  }

  /** It goes away from a port, with every connection there; and comes back, the same. */
  async down(port: 0 | 1 = 0): Promise<void> {
    await this.#guest().run(`unserve ${this.nqn} ${GUEST_PORTS[port]}`);
  }
  async up(port: 0 | 1 = 0): Promise<void> {
    await this.#guest().run(`serve ${this.nqn} ${GUEST_PORTS[port]}`);
  }

  /** State of an ANA group on a port, as configfs writes it. */
  async ana(port: 0 | 1, group: number, state: string): Promise<void> {
    await this.#guest().run(`ana ${GUEST_PORTS[port]} ${group} ${state}`);
  }

  /** Writes an attribute: `namespaces/1/enable`. */
  async set(attribute: string, value: string | number): Promise<void> {
    await this.#guest().run(`set_attribute ${this.nqn} ${attribute} ${value}`);
  }

  async add(nsid: number, options: LinuxTargetOptions = {}): Promise<void> {
    const { backing = 'null', size = 64, blockSize = 512 } = options;
    await this.#guest().run(
      `disk=$(backing ${backing} ${size} ${blockSize}) && add_namespace ${this.nqn} ${nsid} $disk`,
    );
  }

  async stop(): Promise<void> {
    for (const wire of this.wires) await wire.close();
  }
}
