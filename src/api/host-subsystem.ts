/** The public promises of a subsystem that a host is connected to. */
import type { Controller } from '../initiator/controller.ts';
import type { Head } from '../initiator/head.ts';
import type { Subsystem } from '../initiator/subsystem.ts';
import { type HeadOptions, headOptions } from './connect-options.ts';
import { NvmeDisk } from './disk.ts';
import { NvmeError } from './error.ts';
import { NvmeController } from './host-controller.ts';

/** A subsystem with its heads (disks) and its controllers. It stays the same object however its controllers change. */
export class NvmeSubsystem {
  readonly #subsystem: Subsystem;
  readonly #disks = new WeakMap<Head, NvmeDisk>();
  readonly #controllers = new WeakMap<Controller, NvmeController>();

  /** Made by `host.connect`. */
  constructor(subsystem: Subsystem) {
    this.#subsystem = subsystem;
  }

  /** `nvme-subsys0`. */
  get name(): string {
    return this.#subsystem.name;
  }
  /** Never used again, unlike the name. */
  get id(): number {
    return this.#subsystem.id;
  }
  get nqn(): string {
    return this.#subsystem.nqn;
  }
  get serial(): string {
    return this.#subsystem.serial;
  }
  get model(): string {
    return this.#subsystem.model;
  }
  get firmware(): string {
    return this.#subsystem.firmware;
  }

  /** Every disk, in the order of their names. */
  get heads(): NvmeDisk[] {
    return this.#subsystem.heads.map((head) => this.#disk(head));
  }

  /** The disk whose namespace has this NSID. Throws ENODEV when there is none. */
  head(nsid: number): NvmeDisk {
    const head = this.#subsystem.head(nsid);
    if (head === undefined) {
      const present = this.#subsystem.heads.map((each) => each.nsid).join(', ');
      const why = this.#subsystem.whyNot(nsid);
      const message =
        why === undefined
          ? `${this.nqn} has no namespace ${nsid}${present === '' ? '' : `, only ${present}`}`
          : `namespace ${nsid} of ${this.nqn} is not used: ${why}`;
      throw new NvmeError(message, { code: 'ENODEV' });
    }
    return this.#disk(head);
  }

  /** In the order in which they joined. */
  get controllers(): NvmeController[] {
    return [...this.#subsystem.controllers].map((controller) => {
      let made = this.#controllers.get(controller);
      if (made === undefined) this.#controllers.set(controller, (made = new NvmeController(controller)));
      return made;
    });
  }

  /** How its disks use their paths. */
  get options(): Required<HeadOptions> {
    const { iopolicy, writeFailover, delayedRemoval } = this.#subsystem.settings;
    return { iopolicy, write_failover: writeFailover, delayed_removal_secs: delayedRemoval };
  }

  /** Changes it, for all disks and at once. Throws EINVAL. */
  set(options: HeadOptions): void {
    const settings = headOptions(options);
    this.#subsystem.set(settings);
    if (settings.delayedRemoval === undefined) return;
    for (const head of [...this.#subsystem.heads]) head.setDelayedRemoval(settings.delayedRemoval);
  }

  /**
   * Keeps the subsystem, and with it its number and name, whatever becomes of its controllers and disks: a later
   * connection to the same NQN finds it again. Ends when what this returns is called, or with the host.
   */
  hold(): () => void {
    return this.#subsystem.hold();
  }

  /**
   * Disconnects every controller, in order. I/O that is under way is rejected: 370h when it was never sent, 371h when
   * it may have been. Resolves when all is gone.
   */
  async disconnect(): Promise<void> {
    await Promise.all(this.controllers.map((controller) => controller.disconnect()));
  }

  #disk(head: Head): NvmeDisk {
    let made = this.#disks.get(head);
    if (made === undefined) this.#disks.set(head, (made = new NvmeDisk(head)));
    return made;
  }
}
