/** Makes a failing simulation smaller while it breaks the same rule: fewer faults, fewer of everything, shorter. */
import { leastOf, planOf, type Field, type Overrides } from './overrides.ts';
import type { Plan } from './plan.ts';
import { simulate } from './simulation.ts';

/** What is tried of each field, from the boldest to the most careful. */
const STEPS: readonly (readonly [Field, (value: number) => readonly number[]])[] = [
  ['crashAtEnd', () => [0]],
  ['hosts', (value) => [1, value - 1]],
  ['subsystems', (value) => [1, value - 1]],
  ['targets', (value) => [1, value - 1]],
  ['namespaces', (value) => [1, value - 1]],
  ['ways', (value) => [1, value - 1]],
  ['addresses', (value) => [1, value - 1]],
  ['clients', (value) => [1, value - 1]],
  ['ioQueues', (value) => [1, value - 1]],
  ['ios', (value) => [value >> 2, value >> 1, value - (value >> 2), value - 1]],
  ['depth', (value) => [1, value >> 1]],
  ['ioBlocks', () => [1]],
  ['lastAddressAt', () => [0]],
  ['abandonOneIn', () => [0]],
  ['swapOneIn', () => [0]],
  ['copyOneIn', () => [0]],
  ['reserveOneIn', () => [0]],
  ['verifyOneIn', () => [0]],
  ['interruptOneIn', () => [0]],
  ['protectOneIn', () => [0]],
  ['persistOneIn', () => [0]],
  ['nbdClients', (value) => [0, 1, value - 1]],
  ['eraseOneIn', () => [0]],
  ['flushOneIn', () => [0]],
  ['fuaOneIn', () => [0]],
  ['headerDigest', () => [0]],
  ['dataDigest', () => [0]],
  ['disableSqFlow', () => [0]],
];

/** `budget`: simulations that may be run for it. */
export function shrink(seed: number, overrides: Overrides, rule: string, budget = 300): Overrides {
  let best = overrides;
  let left = budget;
  const fails = (tried: Overrides): boolean => {
    if (left <= 0) return false;
    left--;
    if (simulate(planOf(seed, tried)).failure?.rule !== rule) return false;
    best = tried;
    return true;
  };
  for (let smaller = true; smaller && left > 0;) {
    smaller = false;
    for (const index of keptFaults(seed, best))
      smaller =
        fails({ ...best, faults: keptFaults(seed, best).filter((each) => each !== index) }) || smaller;
    for (const [field, steps] of STEPS) {
      const value = Number(planOf(seed, best)[field as keyof Plan]);
      const tried = [...new Set(steps(value))].filter((each) => each >= leastOf(field) && each < value);
      smaller = tried.some((each) => fails({ ...best, set: { ...best.set, [field]: each } })) || smaller;
    }
  }
  return best;
}

function keptFaults(seed: number, overrides: Overrides): readonly number[] {
  return overrides.faults ?? planOf(seed, overrides).faults.map((_, i) => i);
}
