/** The stage with our own target, in this process. */
import { createHost, type NvmeDisk, type NvmeHost } from '../../src/api/index.ts';
import { type TargetParts, assemble, withExports } from '../../src/api/target-parts.ts';
import type { AnaStateName } from '../../src/config/document.ts';
import { type Edit, addPort, addSubsystem, removePort, setAna } from '../../src/config/edit.ts';
import { must } from '../../src/runtime/assert.ts';
import { Line } from './line.ts';
import { GROUP, PORTS, type PortId, QUIESCE, type Stage, connectOver } from './stage.ts';

const NQN = 'nqn.2024-01.org.example:demo';
const ID = '5b7a2f0e-6a0e-4d52-9a55-0d5b1f4f7c11';
/** Seconds. */
const TIMES = { window: 20, keepAlive: 1 } as const;

export class OurStage implements Stage {
  readonly target = 'this package';
  readonly window = TIMES.window;
  readonly host: NvmeHost;
  readonly disk: NvmeDisk;
  readonly lines: readonly Line[];
  readonly #parts: TargetParts;
  readonly #ports: number[];

  private constructor(host: NvmeHost, disk: NvmeDisk, lines: Line[], parts: TargetParts, ports: number[]) {
    this.host = host;
    this.disk = disk;
    this.lines = lines;
    this.#parts = parts;
    this.#ports = ports;
  }

  static async open(): Promise<OurStage> {
    const parts = await assemble({ folder: undefined });
    const subsystem = {
      nqn: NQN,
      serial: 'DEMO',
      model: 'nvme-tcp demo',
      shared: true,
      namespaces: [],
    };
    await parts.control.change((document) =>
      withExports(parts, addSubsystem(subsystem)(document), NQN, [{ memory: '16M', blockSize: 4096 }]),
    );
    const ports = await listen(parts);
    const lines = await Promise.all(PORTS.map((_, i) => new Line(() => ports[i]!).open()));
    const host = createHost({
      hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${ID}`,
      hostid: ID,
      limits: { commandQuiesceTime: QUIESCE },
    });
    const disk = await connectOver(host, lines, NQN, TIMES);
    return new OurStage(host, disk, lines, parts, ports);
  }

  line(id: PortId): Line {
    return this.lines[id - 1]!;
  }

  async ana(id: PortId, state: AnaStateName): Promise<void> {
    await edit(this.#parts, setAna(id, GROUP, state));
  }

  async removeAll(): Promise<void> {
    await Promise.all(this.host.subsystems.map((subsystem) => subsystem.disconnect()));
    for (const id of PORTS) await edit(this.#parts, removePort(id));
  }

  async addAll(): Promise<NvmeDisk> {
    // The system may have given their old numbers to somebody else.
    this.#ports.splice(0, PORTS.length, ...(await listen(this.#parts)));
    return connectOver(this.host, this.lines, NQN, TIMES);
  }

  async close(): Promise<void> {
    await this.host.close();
    const { target, control } = this.#parts;
    const stopped = new Promise<void>((resolve) => target.stop(resolve));
    await control.stop();
    await stopped;
    await Promise.all(this.lines.map((line) => line.close()));
  }
}

const edit = (parts: TargetParts, change: Edit) =>
  parts.control.change((document) => ({ document: change(document) }));

const port = (id: PortId): Edit =>
  addPort({ id, address: '127.0.0.1:0', enabled: true, subsystems: [NQN], ana: [], referrals: [] });

/** Adds the ports; where they listen, in their order. */
async function listen(parts: TargetParts): Promise<number[]> {
  for (const id of PORTS) await edit(parts, port(id));
  const { list } = parts.target.ports;
  return PORTS.map(
    (id) =>
      must(
        list.find((each) => each.id === id),
        `port ${id} listens`,
      ).address.port,
  );
}
