/** Processor time of a process, all of its threads, as the kernel's scheduler counts it. */
import { readFileSync, readdirSync } from 'node:fs';

/** Microseconds since it started; undefined where there is no /proc, or no such process. */
export function cpuOf(pid: number): number | undefined {
  try {
    let nanoseconds = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`))
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    return nanoseconds / 1000;
  } catch {
    return undefined;
  }
}
