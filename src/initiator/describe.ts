/**
 * What a host has, as plain data that can be printed or sent: controllers with their timers and what these will do,
 * ports with their counts, and who owns each number (NUM.12). Times are milliseconds; Infinity and what is not there
 * are left out, so that it survives JSON.
 */
import type { Timer } from '../runtime/ports.ts';
import type { Association } from './association.ts';
import type { Controller } from './controller.ts';
import type { ControllerState } from './controller-state.ts';
import type { PortState } from './port.ts';
import { maxReconnects } from './recovery.ts';
import type { Registry } from './registry.ts';

export interface TimerDescription {
  /** The object that it belongs to. */
  readonly of: string;
  readonly name: string;
  /** Until it fires. */
  readonly inMs: number;
  /** What it will do. */
  readonly then: string;
}

/** What timers do; their names are those that the code gives them. */
const THEN: Readonly<Record<string, string>> = {
  reconnect: 'connects the controller again',
  ctrl_loss_tmo: 'gives the controller up',
  dev_loss_tmo: 'gives the controller up, because its remote port is gone',
  fast_io_fail_tmo: 'fails the I/O that waits, while the controller goes on reconnecting',
  drain: 'stops waiting for the old connections; nothing is retried before they are dead',
  disconnect: 'stops being polite, then stops waiting',
  'keep alive': 'sends a Keep Alive, unless there was traffic that makes it unnecessary',
  'CSTS.RDY': 'gives the attempt up: the controller is not ready',
  'polls CSTS.RDY': 'looks whether the controller is ready',
  'reads the discovery log again': 'reads the discovery log again',
  shutdown: 'leaves without waiting for the shutdown',
  'polls CSTS.SHST': 'looks whether the shutdown is complete',
  'looks at the namespaces again': 'looks at the namespaces again',
  'waits for the TCP connection': 'gives the attempt up: no TCP connection',
  'waits for ICResp': 'gives the attempt up: no ICResp',
  'waits for the controller to close': 'resets the connection',
  'waits for the controller to leave': 'resets the connection',
  'reads the ANA log again': 'asks for the ANA log again, which could not be used',
  'is tried again': 'lets commands take the path again that refused one',
  'a command is repeated': 'sends a command again after the delay that the controller asked for',
  'delayed removal': 'removes the head, and fails the I/O that waits',
  'oldest command': 'asks the controller to abort the command, then ends the association',
};

export function describeTimer(timer: Timer, now: number): TimerDescription {
  const at = timer.name.lastIndexOf(': ');
  const of = at < 0 ? '' : timer.name.slice(0, at);
  const name = timer.name.slice(at < 0 ? 0 : at + 2);
  const dead = name.endsWith('is dead on the target');
  const then = dead
    ? 'lets the writes go elsewhere that may have been sent on it'
    : name.startsWith('ANATT')
      ? 'reads the ANA log, and resets the controller if the group is still in transition'
      : (THEN[name] ?? name);
  return { of, name, inMs: Math.max(0, timer.due - now), then };
}

/** Every timer of a controller and of its association, the next one first. */
export function describeTimers(controller: Controller): TimerDescription[] {
  const { association, env } = controller;
  const timers: Timer[] = [...controller.state.timers(), ...(association?.timers ?? [])];
  for (const { state, queue } of association?.connections ?? [])
    timers.push(...state.timers(), ...(queue.timer === undefined || !queue.busy ? [] : [queue.timer]));
  const now = env.clock.now();
  return timers.sort((a, b) => a.due - b.due).map((timer) => describeTimer(timer, now));
}

/** A name for people, and an id that is never used again. */
export interface Named {
  readonly name: string;
  readonly id: number;
}

const named = (each: Named | undefined): Named | undefined =>
  each === undefined ? undefined : { name: each.name, id: each.id };

const finite = (ms: number): number | undefined => (ms === Infinity ? undefined : ms);

export interface AssociationDescription {
  readonly id: number;
  readonly state: string;
  readonly ended: string;
  readonly ioQueues: number;
  /** Of them, those that take reads alone; 0: all take everything. */
  readonly readQueues: number;
  readonly entries: number;
  readonly keepAliveMs: number;
  readonly trafficBased: boolean;
  readonly commandQuiesceMs: number;
  readonly knownDead: boolean;
}

const describeAssociation = (each: Association): AssociationDescription => ({
  id: each.id,
  state: each.state.now,
  ended: each.ended,
  ioQueues: each.io.length,
  readQueues: each.queues.division.reads,
  entries: each.io[0]?.queue.entries ?? 0,
  keepAliveMs: each.kato,
  trafficBased: each.tbkas,
  commandQuiesceMs: each.cqt,
  knownDead: each.dead,
});

export interface ControllerDescription {
  readonly name: string;
  readonly id: number;
  readonly instance: number;
  readonly subsystem: string | undefined;
  readonly subnqn: string;
  readonly hostnqn: string;
  readonly hostid: string;
  readonly transport: 'tcp';
  readonly traddr: string;
  readonly trsvcid: string;
  readonly hostTraddr: string | undefined;
  readonly hostIface: string | undefined;
  readonly cntlid: number;
  readonly state: ControllerState;
  readonly why: string;
  /** Why it failed, or was lost last. */
  readonly reason: string | undefined;
  readonly usable: boolean;
  readonly failedFast: boolean;
  readonly revalidating: boolean;
  readonly suspended: boolean;
  /** Times that it was live; attempts since the loss, and how many there may be. */
  readonly connects: number;
  readonly attempts: number;
  readonly maxReconnects: number | undefined;
  readonly reconnectDelayMs: number;
  readonly ctrlLossMs: number | undefined;
  readonly fastIoFailMs: number | undefined;
  readonly devLossMs: number | undefined;
  readonly association: AssociationDescription | undefined;
  readonly timers: readonly TimerDescription[];
}

export function describeController(controller: Controller): ControllerDescription {
  const { options, recovery, association } = controller;
  return {
    name: controller.name,
    id: controller.id,
    instance: controller.instance,
    subsystem: controller.subsystem?.name,
    subnqn: options.subnqn,
    hostnqn: options.hostnqn,
    hostid: options.hostid,
    transport: 'tcp',
    traddr: options.address.host,
    trsvcid: String(options.address.port),
    hostTraddr: options.localHost,
    hostIface: options.localInterface,
    cntlid: controller.cntlid,
    state: controller.state.now,
    why: controller.state.why,
    reason: controller.reason?.message,
    usable: controller.usable,
    failedFast: controller.failedFast,
    revalidating: controller.revalidating,
    suspended: controller.suspended,
    connects: controller.connects,
    attempts: controller.attempts,
    maxReconnects: finite(maxReconnects(recovery)),
    reconnectDelayMs: recovery.reconnectDelay,
    ctrlLossMs: finite(recovery.ctrlLossTmo),
    fastIoFailMs: finite(recovery.fastIoFailTmo),
    devLossMs: finite(recovery.devLossTmo),
    association: association && describeAssociation(association),
    timers: describeTimers(controller),
  };
}

export interface NumberDescription {
  readonly number: number;
  /** Names and ids of those who have it; a subsystem owns it, a controller only uses it. */
  readonly subsystem: Named | undefined;
  readonly controller: Named | undefined;
  /** Why it is not free, and why a controller's number is another than its subsystem's. */
  readonly why: string;
}

/** Who owns each number that is not free, and why (NUM.12). */
export function describeNumbers(registry: Registry): NumberDescription[] {
  return registry.taken.map((number) => {
    const subsystem = [...registry.subsystems].find(({ instance }) => instance === number);
    const controller = [...registry.controllers].find(({ instance }) => instance === number);
    return {
      number,
      subsystem: named(subsystem),
      controller: named(controller),
      why: numberWhy(registry, number),
    };
  });
}

function numberWhy(registry: Registry, number: number): string {
  const subsystem = [...registry.subsystems].find(({ instance }) => instance === number);
  const controller = [...registry.controllers].find(({ instance }) => instance === number);
  if (subsystem !== undefined && controller !== undefined)
    return `${controller.name} was the first controller of ${subsystem.name}, which took over its number`;
  if (subsystem !== undefined) {
    const { controllers, heads, handles } = subsystem;
    const by = `${controllers.size} controllers, ${heads.length} heads, ${handles} open handles`;
    return `${subsystem.name} has it from its first controller, which is gone; it lives for ${by}`;
  }
  const owner = controller?.subsystem;
  if (controller === undefined) return 'nobody has it';
  if (owner === undefined) return `${controller.name} is not known to belong to a subsystem yet`;
  return `${owner.name} has the number ${owner.instance} of its first controller; ${controller.name} came later and got the lowest free one`;
}

export interface PortDescription {
  readonly id: number;
  readonly local: string;
  readonly traddr: string;
  readonly trsvcid: string;
  readonly state: PortState;
  /** By somebody; else it was made for a controller and goes with the last. */
  readonly registered: boolean;
  readonly activeControllers: number;
  readonly activeRemotePorts: number;
  readonly controllers: readonly string[];
}

export function describePorts(registry: Registry): PortDescription[] {
  return registry.ports.remotes.map((remote) => ({
    id: remote.id,
    local: remote.local.label,
    traddr: remote.address.host,
    trsvcid: String(remote.address.port),
    state: remote.state,
    registered: remote.registered,
    activeControllers: remote.activeControllers,
    activeRemotePorts: remote.local.activeRemotePorts,
    controllers: [...remote.controllers].map(({ name }) => name),
  }));
}
