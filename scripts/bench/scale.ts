/** What many namespaces and many connections cost: the same work beside few of them and beside many, as ratios. */
import { start } from './child.ts';
import type { CrowdJob, CrowdLoad, CrowdMeasured, Party } from './crowd.ts';
import { median } from './numbers.ts';
import { SIZE } from './work.ts';
import type { TargetInput, TargetOutput } from './target.ts';

interface Crowd {
  /** That there are, that are asked for in turn, and bytes of each that are. */
  readonly namespaces: number;
  readonly asked: number;
  readonly span: number;
  readonly controllers: number;
}

export interface ScaleCase {
  readonly name: string;
  readonly load: CrowdLoad;
  readonly depth: number;
  readonly few: Crowd;
  readonly many: Crowd;
}

export interface ScaleSide {
  readonly rate: number;
  /** Microseconds of processor time of ours for one: the target's, or the host's. */
  readonly cpu: number;
  /** Microseconds from asking to the answer, or to being connected. */
  readonly p50: number;
}

export interface ScaleResult {
  readonly name: string;
  readonly load: CrowdLoad;
  readonly few: ScaleSide;
  readonly many: ScaleSide;
  /** Of the processor time beside many to that beside few; windows next to each other are compared. */
  readonly ratio: number;
}

/** `namespaces`, `controllers`: how many are many. */
export function scaleCases(namespaces: number, controllers: number): ScaleCase[] {
  const alone: Crowd = { namespaces: 1, asked: 1, span: SIZE, controllers: 1 };
  const nobody: Crowd = { ...alone, controllers: 0 };
  const crowded: Crowd = { ...alone, controllers };
  const span = SIZE / namespaces;
  const spaces = `${namespaces.toLocaleString('en')} namespaces`;
  const row = (name: string, load: CrowdLoad, few: Crowd, many: Partial<Crowd>, depth = 32): ScaleCase => ({
    name,
    load,
    depth,
    few,
    many: { ...few, ...many },
  });
  return [
    row(`read, depth 32: one of ${spaces}`, 'one', { ...alone, span }, { namespaces }),
    row(`read, depth 32: ${spaces} in turn`, 'one', alone, { namespaces, asked: namespaces, span }),
    row(`read, depth 32: one of ${controllers} controllers`, 'one', alone, crowded),
    row(`32 reads at once: ${controllers} controllers in turn`, 'turns', alone, crowded),
    row(`read, depth 1: all of ${controllers} controllers`, 'all', alone, crowded, 1),
    row(`connect: ${spaces}`, 'connect', nobody, { namespaces }),
    row(`connect: ${controllers} other controllers`, 'connect', nobody, crowded),
    row(`our host connects: ${spaces}`, 'host', nobody, { namespaces }),
  ];
}

export interface ScaleTiming {
  /** Fresh pairs of targets, turns of each, and the time of one, ms. */
  readonly repeat: number;
  readonly windows: number;
  readonly window: number;
  readonly warmUp: number;
}

function side(measured: readonly CrowdMeasured[], load: CrowdLoad): ScaleSide {
  const cpus = measured.flatMap(({ clientCpus, serverCpus }) => (load === 'host' ? clientCpus : serverCpus));
  return {
    rate: median(measured.flatMap(({ rates }) => rates)),
    cpu: median(cpus),
    p50: median(measured.map(({ p50 }) => p50)),
  };
}

export async function measureScale(each: ScaleCase, timing: ScaleTiming): Promise<ScaleResult> {
  const { name, load, depth, few, many } = each;
  const measured: CrowdMeasured[][] = [];
  for (let i = 0; i < timing.repeat; i++) {
    const children = [few, many].map(({ namespaces }) =>
      start<TargetOutput>('server', 'target', { files: {}, namespaces } satisfies TargetInput),
    );
    try {
      const parties: Party[] = [];
      for (const [at, child] of children.entries())
        parties.push({ ...[few, many][at]!, place: (await child.said)['memory']!, server: child.pid });
      const { windows, window, warmUp } = timing;
      const job: CrowdJob = { parties, load, depth, windows, window, warmUp };
      measured.push(await start<CrowdMeasured[]>('client', 'crowd', job).said);
    } finally {
      for (const child of children) child.process.kill();
    }
  }
  const ofFew = measured.map((pair) => pair[0]!);
  const ofMany = measured.map((pair) => pair[1]!);
  const cpus = ({ clientCpus, serverCpus }: CrowdMeasured): readonly number[] =>
    load === 'host' ? clientCpus : serverCpus;
  const ratios = measured.flatMap((_, i) =>
    cpus(ofMany[i]!).map((cpu, window) => cpu / cpus(ofFew[i]!)[window]!),
  );
  return { name, load, few: side(ofFew, load), many: side(ofMany, load), ratio: median(ratios) };
}
