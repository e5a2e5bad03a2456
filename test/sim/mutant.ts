/**
 * A copy of the compiled project with one mutation in it, whose simulations can be run beside the real ones. The
 * mutation is made in the source, so that it is written as one would write the defect.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Mutation } from './mutations.ts';
import type { Plan } from './plan.ts';
import type { Result } from './simulation.ts';

export interface Found {
  readonly mutation: Mutation;
  /** Undefined: no simulation noticed. */
  readonly seed: number | undefined;
  readonly rule: string;
  readonly runs: number;
  /** Seconds of the processor that it took. */
  readonly seconds: number;
}

interface Simulator {
  readonly simulate: (plan: Plan) => Result;
}

/** Runs seeds from `first` on until one breaks a rule; `root`: the project's folder, `dist`: where it is compiled to. */
export async function hunt(
  mutation: Mutation,
  root: string,
  dist: string,
  first: number,
  seconds: number,
): Promise<Found> {
  const folder = mkdtempSync(join(tmpdir(), 'nvme-tcp-mutant-'));
  try {
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    for (const part of ['src', 'test/sim']) cpSync(join(dist, part), join(folder, part), { recursive: true });
    await mutate(mutation, root, folder);
    const load = (path: string): Promise<unknown> => import(pathToFileURL(join(folder, path)).href);
    const { simulate } = (await load('test/sim/simulation.js')) as Simulator;
    const { swarm } = (await load('test/sim/plan.js')) as {
      swarm: (seed: number, plan?: Partial<Plan>) => Plan;
    };
    const start = cpuSeconds();
    const spent = (): number => cpuSeconds() - start;
    let runs = 0;
    for (let seed = first; spent() < seconds; seed++) {
      runs++;
      const { failure } = simulate(swarm(seed, mutation.plan));
      if (failure !== undefined) return { mutation, seed, rule: failure.rule, runs, seconds: spent() };
    }
    return { mutation, seed: undefined, rule: '', runs, seconds: spent() };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The machine may be busy with others. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

async function mutate({ name, edits }: Mutation, root: string, folder: string): Promise<void> {
  const { default: ts } = await import('typescript');
  const changed = new Map<string, string>();
  for (const { file, from, to } of edits) {
    const text = changed.get(file) ?? readFileSync(join(root, file), 'utf8');
    if (text.split(from).length !== 2)
      throw new Error(`mutation "${name}": ${file} does not have its text once`);
    changed.set(
      file,
      text.replace(from, () => to),
    );
  }
  for (const [file, text] of changed) {
    const { outputText } = ts.transpileModule(text, {
      compilerOptions: {
        target: ts.ScriptTarget.ES2023,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
        rewriteRelativeImportExtensions: true,
      },
    });
    writeFileSync(join(folder, file.replace(/\.ts$/, '.js')), outputText);
  }
}

export function foundTable(found: readonly Found[]): string {
  const rows = found.map(({ mutation, seed, rule, runs, seconds }) =>
    seed === undefined
      ? `| ${mutation.name} | not found | | ${runs} | ${seconds.toFixed(1)} |`
      : `| ${mutation.name} | ${rule} | 0x${seed.toString(16)} | ${runs} | ${seconds.toFixed(1)} |`,
  );
  return ['| Defect | Rule that it breaks | Seed | Runs | Seconds |', '|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}
