/** Every scenario, in the order in which they run. */
import type { Scenario } from '../scenario.ts';
import type { LocalScenario } from '../local.ts';
import { LINUX_CHANGES } from './linux-changes.ts';
import { LINUX_CONNECTS } from './linux-connects.ts';
import { LINUX_DATA } from './linux-data.ts';
import { LINUX_DISCOVERS } from './linux-discovers.ts';
import { LINUX_PATHS } from './linux-paths.ts';
import { LINUX_RESERVES } from './linux-reserves.ts';
import { LINUX_STAYS } from './linux-stays.ts';
import { NBD_TOOLS } from './nbd-tools.ts';
import { OUR_CLI } from './our-cli.ts';
import { OUR_DAEMON } from './our-daemon.ts';
import { OUR_DEMO } from './our-demo.ts';
import { OUR_HOST } from './our-host.ts';
import { OUR_PATHS } from './our-paths.ts';
import { REBOOTS } from './reboots.ts';

export const SCENARIOS: readonly Scenario[] = [
  ...LINUX_DISCOVERS,
  ...LINUX_CONNECTS,
  ...LINUX_STAYS,
  ...LINUX_DATA,
  ...LINUX_CHANGES,
  ...LINUX_PATHS,
  ...LINUX_RESERVES,
  ...OUR_HOST,
  ...OUR_PATHS,
  OUR_DEMO,
  ...OUR_CLI,
  OUR_DAEMON,
  ...REBOOTS,
];

/** Those that need no kernel; they run first. */
export const LOCAL_SCENARIOS: readonly LocalScenario[] = [...NBD_TOOLS];
