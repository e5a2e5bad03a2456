/** The states of a controller, which are Linux's, with its transitions. */
import type { CloseWhy } from './close-why.ts';

export const CONTROLLER_STATES = {
  new: ['connecting', 'deleting'],
  /** An attempt is under way: setup.ts, the controller's answers, their time-outs. Or one is waited for: the timer. */
  connecting: ['live', 'deleting'],
  /** Until something ends it. */
  live: ['resetting', 'deleting'],
  /** Its connections were reset; the end of the last one wakes it, or the timer. */
  resetting: ['connecting', 'deleting'],
  /** Its connections end, in order if it is there to be told; the last of them wakes it, or the timer. */
  deleting: ['dead'],
  dead: [],
} as const;

export type ControllerState = keyof typeof CONTROLLER_STATES;
/** Why a controller goes. */
export type DeleteWhy = CloseWhy | 'not set up' | 'given up' | 'a command was refused';
