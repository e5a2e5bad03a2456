/** One thing that has to work between a Linux kernel and us. */
import type { Context } from './context.ts';

export type Direction = 'Linux host → our target' | 'our host → Linux target';

export const FROM_LINUX: Direction = 'Linux host → our target';
export const TO_LINUX: Direction = 'our host → Linux target';

export interface Scenario {
  /** What --only takes. */
  readonly name: string;
  /** What it shows, for --list. */
  readonly shows: string;
  readonly direction: Direction;
  /** In the full set only. */
  readonly full?: boolean;
  /** The most that it may take; default 300. */
  readonly seconds?: number;
  /** Rejects when something is not as it should be. */
  readonly run: (context: Context) => Promise<void>;
}
