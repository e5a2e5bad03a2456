import type { Level, Trace, TraceFields } from '../ports.ts';

export interface TraceEvent {
  readonly level: Level;
  readonly what: string;
  readonly fields: TraceFields;
}

/** Keeps every event, for a test to look at. */
export class CollectingTrace implements Trace {
  debug = true;
  readonly events: TraceEvent[] = [];

  event(level: Level, what: string, fields: TraceFields): void {
    this.events.push({ level, what, fields });
  }

  /** What happened, without the fields. */
  get whats(): string[] {
    return this.events.map((event) => event.what);
  }
}
