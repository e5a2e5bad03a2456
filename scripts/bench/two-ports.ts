/** A target with two ports, a process of its own, to which things happen when its parent says so. */
import { AnaState } from '../../src/nvme/ana-log.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import type { Address, Net, Transport, TransportEvents } from '../../src/runtime/ports.ts';
import type { Port } from '../../src/target/port.ts';
import { Target } from '../../src/target/target.ts';
import { say } from './child.ts';
import { BLOCK } from './work.ts';

/** All of them happen to the first port. */
export type Deed =
  /** Its connections are reset. */
  | 'reset'
  /** Nothing is heard of its present connections any more, and nothing on them reaches anybody. */
  | 'mute'
  /** Its ANA state. */
  | 'inaccessible'
  | 'optimized'
  /** It goes, and is there again. */
  | 'remove'
  | 'add';

export interface TwoPorts {
  readonly ports: readonly [number, number];
  /** Two subsystems, one namespace each. */
  readonly nqns: readonly [string, string];
  readonly blocks: number;
}

const SIZE = 16 * 2 ** 20;

/** A connection that can fall silent. */
class Wire {
  readonly #transport: Transport;
  #muted = false;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  mute(): void {
    this.#muted = true;
  }
  reset(): void {
    this.#transport.reset();
  }

  /** What the target gets of it. `gone` is called when it is over. */
  end(gone: () => void): Transport {
    const transport = this.#transport;
    const start = (events: TransportEvents): void => {
      transport.start({
        data: (chunk) => {
          if (!this.#muted) events.data(chunk);
        },
        end: () => {
          if (!this.#muted) events.end();
        },
        closed: (error) => {
          gone();
          events.closed(error);
        },
      });
    };
    return {
      local: transport.local,
      remote: transport.remote,
      readsPayload: false,
      start,
      write: (parts, done) => {
        if (this.#muted) setImmediate(done);
        else transport.write(parts, done);
      },
      pause: () => transport.pause(),
      resume: () => transport.resume(),
      end: () => {
        if (!this.#muted) transport.end();
      },
      close: () => transport.close(),
      reset: () => transport.reset(),
    };
  }
}

async function main(): Promise<void> {
  const env = nodeEnv();
  const wires = new Map<Wire, number>();
  const net: Net = {
    listen: (at, accept, done) => {
      const accepted = (transport: Transport): void => {
        const wire = new Wire(transport);
        wires.set(wire, transport.local.port);
        accept(wire.end(() => wires.delete(wire)));
      };
      env.net.listen(at, accepted, done);
    },
    connect: (options, done) => env.net.connect(options, done),
  };
  const target = new Target({ ...env, net });
  const nqns = ['failover', 'other'].map((name) => `nqn.2014-08.org.nvmexpress:bench-${name}`);
  for (const [i, nqn] of nqns.entries()) {
    const file = env.files.memory(SIZE);
    await new Promise((filled) => {
      file.write(0, [new Uint8Array(SIZE).fill(1)], filled);
    });
    target.addNamespace(target.addSubsystem({ nqn, serial: String(i), model: 'bench' }), file, {
      nsid: 1,
      uuid: `00000000-0000-4000-8000-${String(i + 1).padStart(12, '0')}`,
      blockSize: BLOCK,
      readOnly: false,
    });
  }
  const listen = (at: Address): Promise<Port> =>
    new Promise((resolve, reject) => {
      target.ports.listen(at, (error, port) => {
        if (port === undefined) reject(new Error(error?.message));
        else resolve(port);
      });
    });
  let first = await listen({ host: '127.0.0.1', port: 0 });
  const second = await listen({ host: '127.0.0.1', port: 0 });
  const { address } = first;
  const mine = (): Wire[] => [...wires].filter(([, port]) => port === address.port).map(([wire]) => wire);
  const deeds: Readonly<Record<Deed, () => void>> = {
    reset: () => {
      for (const wire of mine()) wire.reset();
    },
    mute: () => {
      for (const wire of mine()) wire.mute();
    },
    inaccessible: () => target.ports.setAnaState(first, 1, AnaState.Inaccessible),
    optimized: () => target.ports.setAnaState(first, 1, AnaState.Optimized),
    remove: () => target.ports.remove(first, () => undefined),
    add: () => {
      void listen(address).then((port) => (first = port));
    },
  };
  process.on('message', (deed: Deed) => deeds[deed]());
  process.on('disconnect', () => process.exit(0));
  const ports = [address.port, second.address.port] as const;
  say({ ports, nqns: [nqns[0]!, nqns[1]!], blocks: SIZE / BLOCK } satisfies TwoPorts);
}
await main();
