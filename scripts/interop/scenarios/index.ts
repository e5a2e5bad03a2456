/** Every scenario, in the order in which they run. */
import type { Scenario } from '../scenario.ts';
import { LINUX_CONNECTS } from './linux-connects.ts';
import { LINUX_DATA } from './linux-data.ts';

export const SCENARIOS: readonly Scenario[] = [...LINUX_CONNECTS, ...LINUX_DATA];
