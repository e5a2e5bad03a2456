/**
 * The target's core, to be embedded in a world of one's own: give `Target` an `Env` (clock, network, files, …) and it
 * does the rest. `createTarget` of the package's main entry point is the same with Node's.
 */
export { Target, type NamespaceOptions, type TargetOptions } from './target.ts';
export { DEFAULT_LIMITS, type Limits } from './limits.ts';
export type { Namespace, NamespaceIdentity } from './namespace.ts';
export type { Port } from './port.ts';
export type { ListenOptions, Ports } from './ports.ts';
export type { Subsystem, SubsystemIdentity, SubsystemOptions } from './subsystem.ts';
export type { Referral } from './discovery.ts';
export type { NamespaceFacts } from './facts.ts';
export { AnaState } from '../nvme/ana-log.ts';
export type * from '../runtime/ports.ts';
