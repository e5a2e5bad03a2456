/** The stage with the kernel's target, nvmet, in a guest that is booted for it. */
import type { NvmeDisk, NvmeHost } from '../../src/api/index.ts';
import type { AnaStateName } from '../../src/config/document.ts';
import type { Context } from '../interop/context.ts';
import type { LinuxTarget } from '../interop/linux-target.ts';
import { Line } from './line.ts';
import { GROUP, PORTS, type PortId, QUIESCE, type Stage, connectOver } from './stage.ts';

/** Seconds. A guest without KVM takes its time. */
const TIMES = { window: 60, keepAlive: 2 } as const;
const UUID = '5b7a2f0e-6a0e-4d52-9a55-0d5b1f4f7c12';
/** Where the guest notes what the disk is made of, while its namespace is away. */
const NOTE = '/tmp/demo-disk';

export class LinuxStage implements Stage {
  readonly target: string;
  readonly window = TIMES.window;
  readonly host: NvmeHost;
  readonly disk: NvmeDisk;
  readonly lines: readonly Line[];
  readonly #context: Context;
  readonly #linux: LinuxTarget;

  private constructor(
    context: Context,
    linux: LinuxTarget,
    host: NvmeHost,
    disk: NvmeDisk,
    lines: readonly Line[],
  ) {
    this.target = `nvmet of Linux ${context.guest.release}`;
    this.host = host;
    this.disk = disk;
    this.lines = lines;
    this.#context = context;
    this.#linux = linux;
  }

  static async open(context: Context): Promise<LinuxStage> {
    const linux = await context.linux({ ports: 2, size: 16, blockSize: 4096 });
    await name(linux);
    const lines = await Promise.all(linux.wires.map(({ port }) => new Line(() => port).open()));
    context.later(async () => {
      await Promise.all(lines.map((line) => line.close()));
    });
    const host = context.host({ limits: { commandQuiesceTime: QUIESCE } });
    return new LinuxStage(context, linux, host, await connectOver(host, lines, linux.nqn, TIMES), lines);
  }

  line(id: PortId): Line {
    return this.lines[id - 1]!;
  }

  async ana(id: PortId, state: AnaStateName): Promise<void> {
    await this.#linux.ana(indexOf(id), GROUP, state);
  }

  async removeAll(): Promise<void> {
    await Promise.all(this.host.subsystems.map((subsystem) => subsystem.disconnect()));
    for (const id of PORTS) await this.#linux.down(indexOf(id));
    await this.#context.guest.run(
      `at=${this.#place}; cat $at/device_path >${NOTE}; echo 0 >$at/enable; rmdir $at || fail "namespace 1"`,
    );
  }

  async addAll(): Promise<NvmeDisk> {
    await this.#context.guest.run(`add_namespace ${this.#linux.nqn} 1 "$(cat ${NOTE})"`);
    await name(this.#linux);
    for (const id of PORTS) await this.#linux.up(indexOf(id));
    return connectOver(this.host, this.lines, this.#linux.nqn, TIMES);
  }

  async close(): Promise<void> {
    await this.host.close();
  }

  get #place(): string {
    return `$nvmet/subsystems/${this.#linux.nqn}/namespaces/1`;
  }
}

const indexOf = (id: PortId): 0 | 1 => (id === 1 ? 0 : 1);

/** A namespace that nvmet makes anew is somebody else, unless it is given its name. */
async function name(linux: LinuxTarget): Promise<void> {
  await linux.set('namespaces/1/enable', 0);
  await linux.set('namespaces/1/device_uuid', UUID);
  await linux.set('namespaces/1/enable', 1);
}
