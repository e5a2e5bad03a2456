/** What a person is told of a simulation that broke a rule. */
import { faultText } from './faults.ts';
import { overridesText, planOf, type Overrides } from './overrides.ts';
import type { Plan } from './plan.ts';
import { simulate } from './simulation.ts';
import type { Violation } from './world.ts';

/** Lines of the trace that are told. */
const TAIL = 40;
const LAST = 6;
const MILESTONES = /fault: |starts|stops|killed|crashes|heals|loses power|controller goes|connection ends/;

export const seedText = (seed: number): string => `0x${seed.toString(16)}`;

/** The plan, in a line or a few. */
export function planText(plan: Plan): string {
  const { hosts, targets, subsystems, namespaces, ways, ioQueues, queueEntries, clients, ios, faults } = plan;
  const digests = [plan.headerDigest ? 'header' : '', plan.dataDigest ? 'data' : '']
    .filter(Boolean)
    .join(' and ');
  return [
    `${hosts} hosts, ${targets} targets, ${subsystems} subsystems of ${namespaces} namespaces of ${plan.blocks} × ${plan.disk.blockSize} bytes, ` +
      `${ways} ways of ${ioQueues} queues of ${queueEntries} entries, ${digests || 'no'} digests, ${clients} clients, ${ios} I/Os`,
    ...faults.map((fault, i) => `fault ${i}: ${faultText(fault)}`),
  ].join('\n  ');
}

/** The end of the trace, as far as it is about the violation, in at most `TAIL` lines. */
export function explain(lines: readonly string[], violation: Violation): string[] {
  const last = lines.length - LAST;
  const relevant = lines.filter(
    (line, i) => i >= last || MILESTONES.test(line) || violation.about.some((word) => line.includes(word)),
  );
  return relevant.slice(-TAIL);
}

/** Runs the simulation again with its trace, and tells what is wrong with it. */
export function report(seed: number, overrides: Overrides): string {
  const plan = planOf(seed, overrides);
  const lines: string[] = [];
  const { failure, hash } = simulate(plan, (line) => lines.push(line));
  if (failure === undefined) return `seed ${seedText(seed)} breaks no rule (trace ${hash})`;
  return [
    `seed ${seedText(seed)} breaks ${failure.rule}: ${failure.text}`,
    '',
    `  ${planText(plan)}`,
    '',
    ...explain(lines, failure),
    '',
    `again: npm run sim -- --seed ${seedText(seed)}${overridesText(overrides)} --trace`,
  ].join('\n');
}
