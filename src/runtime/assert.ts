/** The third kind of wrong: our own. Nothing that a peer sends may reach an assertion. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/** Ends the process when `condition` is false; the runtime leaves the last trace events in the state folder. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** For values that cannot be missing. */
export function must<T>(value: T | undefined | null, message: string): T {
  if (value === undefined || value === null) throw new AssertionFailure(message);
  return value;
}
