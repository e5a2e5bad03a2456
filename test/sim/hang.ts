/** What a simulation that does not go on waits for: I/O, states, timers, and who should have woken them. */
import type { Violation, World } from './world.ts';

const seconds = (micros: number): string => `${(micros / 1e6).toFixed(3)} s`;

export function hangReport(world: World, rule: string, what: string, why: string): Violation {
  const lines = [`waits for ${what}: ${why} (now ${seconds(world.clock.micros)})`];
  const about: string[] = [];
  for (const { op, io, client, namespace } of world.outstanding) {
    const where = io.running.map(({ place, queue }) => `${place} in ${queue?.connection.name ?? 'no queue'}`);
    lines.push(
      `  ${client}: ${op.kind} #${op.id} on ${namespace.oracle.name} since ${seconds(op.start)}: ${where.join(', ') || 'no command'}`,
    );
    about.push(`#${op.id} `);
  }
  for (const host of world.hosts)
    for (const { address, controller } of host.ways) {
      if (controller === undefined) {
        lines.push(`  ${host.name} → ${address}: no controller`);
        continue;
      }
      const { name, state, association } = controller;
      lines.push(`  ${host.name} → ${address}: ${name} ${state.now} (${state.why})`);
      for (const connection of association?.connections ?? [])
        if (!connection.state.is('ready') || connection.queue.busy)
          lines.push(
            `    ${connection.name} ${connection.state.now} (${connection.state.why}), ${connection.queue.outstanding} commands, ${connection.queue.waiting} wait${timersOf(connection.state.timers())}`,
          );
    }
  for (const machine of world.targets) {
    lines.push(`  ${machine.name} ${machine.state}`);
    for (const { connections } of machine.target?.ports.list ?? [])
      for (const connection of connections) {
        const { queue, state } = connection;
        if (state.is('ready') && queue.executing === 0 && queue.outstanding === 0) continue;
        lines.push(
          `    connection ${connection.id} ${state.now} (${state.why}): ${queue.executing} execute, ${queue.outstanding} outstanding${timersOf(state.timers())}`,
        );
      }
    for (const { oracle, volume } of machine.namespaces)
      if (volume !== undefined && volume.inFlight > 0)
        lines.push(
          `    ${oracle.name}: ${volume.inFlight} in flight, ${volume.waits.range} wait for a range, ${volume.waits.sync} for a sync`,
        );
  }
  const pending = world.clock.pending();
  lines.push(`  next: ${pending.slice(0, 12).join('; ') || 'nothing'}`);
  return { rule, text: lines.join('\n'), about };
}

const timersOf = (timers: readonly { readonly name: string; readonly due: number }[]): string =>
  timers.map(({ name, due }) => `; ${name} at ${(due / 1000).toFixed(3)} s`).join('');
