/**
 * The target's core, to be embedded in a world of one's own: give `Target` an `Env` (clock, network, files, …) and it
 * does the rest. `createTarget` of the package's main entry point is the same with Node's.
 */
export { Target, type NamespaceOptions } from './target.ts';
export { DEFAULT_LIMITS, type Limits } from './limits.ts';
export type { Namespace, NamespaceIdentity } from './namespace.ts';
export type { Port } from './port.ts';
export type { Subsystem, SubsystemIdentity } from './subsystem.ts';
export type * from '../runtime/ports.ts';
