/**
 * Random interleavings of what happens to a head: I/O, paths that come, go, hang, refuse and lose their states. After
 * every step the invariants hold, among them that nothing waits while a path is usable (QUIESCE.3); in the end every
 * I/O was over exactly once, and nothing is left.
 */
import t from 'tap';
import { AnaState } from '../../src/nvme/ana-log.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { SeededRandom } from '../../src/runtime/memory/random.ts';
import { IO_POLICIES } from '../../src/initiator/select.ts';
import { BLOCK } from '../doubles/fake-controller.ts';
import type { Outcome } from '../doubles/host-world.ts';
import { Multipath, type Side } from '../doubles/multipath.ts';

const RUNS = 60;
const STEPS = 150;
const STATES = [
  AnaState.Optimized,
  AnaState.Optimized,
  AnaState.NonOptimized,
  AnaState.Inaccessible,
  AnaState.Change,
  AnaState.PersistentLoss,
];

class Run {
  readonly random: SeededRandom;
  readonly m: Multipath;
  readonly outcomes: Outcome[] = [];

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    const { random } = this;
    const sides = 1 + random.below(3);
    this.m = new Multipath({
      sides,
      ana: Array.from({ length: sides }, () => AnaState.Optimized),
      anatt: 3,
      limits: { ioTimeout: 4000, maxTransfer: 4 * BLOCK, pieces: 3 },
      options: {
        queueEntries: 16,
        ioQueues: 1 + random.below(2),
        kato: random.below(4) === 0 ? 0 : 2000,
        recovery: {
          reconnectDelay: 500,
          ctrlLossTmo: [0, 3000, Infinity][random.below(3)]!,
          fastIoFailTmo: [Infinity, 1000][random.below(2)]!,
        },
        heads: {
          iopolicy: IO_POLICIES[random.below(4)]!,
          writeFailover: random.below(2) === 0 ? 'safe' : 'immediate',
          delayedRemoval: [0, 2, 60][random.below(3)]!,
        },
      },
    });
  }

  side(): Side {
    return this.m.sides[this.random.below(this.m.sides.length)]!;
  }

  submit(): void {
    const { random, m } = this;
    const head = m.world.registry.subsystem(m.a.controller.options.subnqn)?.heads[0];
    if (head === undefined) return;
    const slba = random.below(64);
    const blocks = 1 + random.below(12);
    const data = new Uint8Array(blocks * BLOCK);
    const kind = random.below(6);
    const outcome =
      kind < 2
        ? m.world.read(head, slba, blocks)
        : kind < 4
          ? m.world.write(head, slba, data)
          : kind === 4
            ? m.world.submit(head, 'flush')
            : m.world.submit(head, 'deallocate', { ranges: [{ slba, blocks }] });
    this.outcomes.push(outcome);
    if (random.below(20) === 0) outcome.io.abandon();
  }

  step(): void {
    const { random, m } = this;
    const side = this.side();
    switch (random.below(14)) {
      case 0:
        m.down(side);
        break;
      case 1:
        m.up(side);
        break;
      case 2:
        side.holding = true;
        break;
      case 3:
        side.release();
        break;
      case 4:
        if (side.fake.events.length > 0) side.setAna(STATES[random.below(STATES.length)]!);
        break;
      case 5:
        side.refuse(
          [
            Status.InternalPathError,
            Status.AnaInaccessible,
            Status.NamespaceNotReady,
            Status.WriteFault | DNR,
          ][random.below(4)]!,
        );
        break;
      case 6:
        if (random.below(4) === 0) side.controller.disconnect('disconnected', () => undefined);
        break;
      case 7:
        if (random.below(2) === 0) side.controller.reset('test');
        break;
      case 8:
        if (side.fake.events.length > 0) {
          side.fake.namespaces[0]!.blocks = 8192 + random.below(2);
          side.rescan();
        }
        break;
      default:
        for (let i = random.below(6); i >= 0; i--) this.submit();
    }
    m.world.registry.invariants();
    m.world.advance([0, 0, 1, 100, 2000][random.below(5)]!);
  }
}

t.test(
  `QUIESCE.12 ${RUNS} random interleavings: every I/O ends once, none waits while a path is usable`,
  (t) => {
    let ios = 0;
    for (let seed = 1; seed <= RUNS; seed++) {
      const run = new Run(seed);
      try {
        for (let i = 0; i < STEPS; i++) run.step();
        for (const side of run.m.sides) {
          run.m.up(side);
          side.release();
          side.ana.set(1, AnaState.Optimized);
          side.fake.namespaces[0]!.blocks = 8192;
        }
        run.m.world.advance(60_000);
        const left = run.m.stop();
        if (left.length > 0) t.fail(`seed ${seed} leaves ${left.join(', ')}`);
        const bad = run.outcomes.find(({ calls, status }) => calls !== 1 || status === undefined);
        if (bad !== undefined) t.fail(`seed ${seed}: a ${bad.io.kind} ended ${bad.calls} times`);
      } catch (error) {
        t.fail(`seed ${seed}: ${(error as Error).stack ?? String(error)}`);
      }
      ios += run.outcomes.length;
    }
    t.ok(ios > RUNS * 100, `${ios} I/Os`);
    t.end();
  },
);
