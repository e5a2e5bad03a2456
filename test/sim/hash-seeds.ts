// One hash over the traces of many seeds: the same with every version of Node. As a program it prints Node's version and the hash.
import { hashText } from './random.ts';
import { simulate } from './simulation.ts';
import { swarm } from './plan.ts';

export function hashSeeds(runs: number): string {
  let hash = 0;
  for (let seed = 1; seed <= runs; seed++) hash = hashText(simulate(swarm(seed)).hash, hash);
  return hash.toString(16).padStart(8, '0');
}

const [, program, runs] = process.argv;
if (program === new URL(import.meta.url).pathname)
  process.stdout.write(`${process.version} ${hashSeeds(Number(runs))}\n`);
