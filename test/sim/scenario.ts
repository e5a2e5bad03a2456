/**
 * A scenario: simulations that are about something. What it does not say is drawn from the seed, so one scenario is as
 * many simulations as it has seeds. To add one: a name that says the rule, what it needs, and what must have come of it.
 */
import type { Fault, FaultKind } from './faults.ts';
import type { Plan } from './plan.ts';

export interface Scenario {
  readonly name: string;
  readonly plan: Partial<Plan>;
  /** What rules must have seen in some of its first seeds (`World.mark`): else it is about nothing. */
  readonly marks: readonly string[];
}

export const scenario = (name: string, plan: Partial<Plan>, marks: readonly string[] = []): Scenario => ({
  name,
  plan,
  marks,
});

/** One fault: `ms` after the start, of the first thing that it may hit, unless told otherwise. */
export const fault = (kind: FaultKind, at: number, more: Partial<Fault> = {}): Fault => ({
  kind,
  at,
  ms: 100,
  which: 0,
  count: 1,
  ...more,
});

export const SMALL = {
  hosts: 1,
  targets: 1,
  subsystems: 1,
  namespaces: 1,
  ways: 1,
  addresses: 1,
  lastAddressAt: 0,
};

/** One head over two paths that are never given up. */
export const TWO_PATHS: Partial<Plan> = {
  ...SMALL,
  addresses: 2,
  ways: 2,
  clients: 4,
  kato: 2000,
  duration: 2000,
  recovery: { reconnectDelay: 50, ctrlLossTmo: Infinity },
};
