/** What the control socket of a host daemon understands: each method's params, and what it does (docs/control.md). */
import { z } from 'zod';
import { refusal } from '../api/answer.ts';
import { NvmeError } from '../api/error.ts';
import { nqn, text, whole } from '../config/values.ts';
import type { Controller } from '../initiator/controller.ts';
import { describeNumbers, describePorts } from '../initiator/describe.ts';
import type { JournalEntry } from '../initiator/journal.ts';
import { localName } from '../initiator/interfaces.ts';
import { contradictions } from '../initiator/recovery.ts';
import { why } from '../initiator/why.ts';
import type { Env } from '../runtime/ports.ts';
import { type Methods, method } from './control-server.ts';
import { type ConnectionEntry, connection, following, heads, recovery } from './host-document.ts';
import type { HostExports } from './host-exports.ts';
import type { HostKeeper } from './host-keeper.ts';
import { type HostShown, showHost } from './host-show.ts';
import { simpleList, subsystemList, topology, verboseList } from './host-views.ts';
import { LOG_LEVELS, type LogLevel } from './log-levels.ts';

export interface HostMethodParts {
  readonly env: Env;
  readonly keeper: HostKeeper;
  readonly exports: HostExports | undefined;
  readonly setLogLevel: (level: LogLevel) => void;
}

/** What `connect` and `connect-all` say of each controller. */
export interface ConnectedShown {
  /** `nvme0`. */
  readonly device: string;
  readonly id: number;
  readonly subsystem: string | undefined;
  readonly subnqn: string;
  readonly traddr: string;
  readonly trsvcid: string;
  readonly state: string;
  /** It was there before. */
  readonly already: boolean;
  /** Options that contradict each other. */
  readonly warnings: readonly string[];
}

/** What `connect-all` could not connect. */
export interface FailedShown {
  readonly subnqn: string;
  readonly traddr: string;
  readonly trsvcid: string | undefined;
  readonly code: string;
  readonly why: string;
}

const none = z.strictObject({});
const view = z.strictObject({ verbose: z.boolean().default(false) });
/** `nvme0`, `nvme-subsys0`, `nvme0n1`, or the NQN of a subsystem. */
const device = text();
const port = z.strictObject({
  host_traddr: text().exactOptional(),
  host_iface: text().exactOptional(),
  traddr: text().exactOptional(),
  trsvcid: whole(1, 65_535).exactOptional(),
});
/** Entries that a slow client may be behind before it is told that it missed some. */
const EVENTS_AT_ONCE = 1024;

export function hostMethods({ env, keeper, exports, setLogLevel }: HostMethodParts): Methods {
  const { registry } = keeper;
  const show = async (): Promise<HostShown> =>
    showHost(registry, await keeper.identity(), (head) => ({
      nbd: exports?.socket(head),
      link: exports?.link(head),
    }));

  const connected = (controller: Controller, already: boolean): ConnectedShown => ({
    device: controller.name,
    id: controller.id,
    subsystem: controller.subsystem?.name,
    subnqn: controller.options.subnqn,
    traddr: controller.options.address.host,
    trsvcid: String(controller.options.address.port),
    state: controller.state.now,
    already,
    warnings: contradictions(controller.recovery),
  });

  return new Map([
    // ---- looking
    ['show', method(none, show)],
    ['list', method(view, async ({ verbose }) => (verbose ? verboseList : simpleList)(await show()))],
    ['list-subsys', method(view, async ({ verbose }) => subsystemList(await show(), verbose))],
    ['show-topology', method(view, async ({ verbose }) => topology(await show(), verbose))],
    ['numbers', method(none, () => ({ numbers: describeNumbers(registry) }))],
    ['why', method(z.strictObject({ head: text() }), ({ head }) => why(keeper.head(head)))],
    [
      'events',
      method(
        z.strictObject({
          since: whole(0, Number.MAX_SAFE_INTEGER).default(0),
          follow: z.boolean().default(false),
        }),
        ({ since, follow }, caller) => {
          const { journal } = registry;
          if (!follow) return { events: journal.since(since), sequence: journal.sequence };
          return new Promise((resolve) => {
            const tell = (entry: JournalEntry): void => caller.progress(entry);
            for (const entry of journal.since(since).slice(-EVENTS_AT_ONCE)) tell(entry);
            const unlisten = journal.listen(tell);
            caller.gone.addEventListener('abort', () => {
              unlisten();
              resolve({});
            });
          });
        },
      ),
    ],

    // ---- connecting
    [
      'connect',
      method(
        z.strictObject({ ...connection.shape, keep_trying: z.boolean().default(false) }),
        async ({ keep_trying, ...entry }, { gone }) => {
          const { controller, already } = await keeper.connect(entry, keep_trying, gone);
          return connected(controller, already);
        },
      ),
    ],
    [
      'connect-all',
      method(
        z.strictObject({
          ...following.shape,
          /** Only this one. */
          subnqn: nqn.optional(),
          persistent: z.boolean().default(false),
        }),
        async ({ persistent, subnqn, disconnect_after, ...entry }, { gone }) => {
          const { found, secured } = await keeper.followers.discover(entry);
          const wanted = (each: ConnectionEntry): boolean => subnqn === undefined || each.subnqn === subnqn;
          const failed: FailedShown[] = secured.filter(wanted).map(({ subnqn: name, traddr, trsvcid }) => ({
            ...{ subnqn: name, traddr, trsvcid, code: 'EACCES' },
            why: 'it lets in nobody without TLS, which is not supported',
          }));
          const made: ConnectedShown[] = [];
          for (const each of found.filter(wanted))
            try {
              const { controller, already } = await keeper.connect(each, false, gone);
              made.push(connected(controller, already));
            } catch (error) {
              if (!(error instanceof NvmeError)) throw error;
              const { traddr, trsvcid, subnqn: name } = each;
              failed.push({ subnqn: name, traddr, trsvcid, code: error.code, why: error.message });
            }
          const follows =
            persistent &&
            (await keeper.follow({ ...entry, ...(disconnect_after !== undefined && { disconnect_after }) }));
          return { connected: made, failed, follows };
        },
      ),
    ],
    ['following', method(none, () => ({ following: keeper.followers.describe() }))],
    [
      'disconnect',
      method(
        z.strictObject({ nqn: nqn.exactOptional(), device: device.exactOptional() }),
        async ({ nqn: wanted, device: named }) => {
          if ((wanted === undefined) === (named === undefined))
            throw refusal('EINVAL', 'what to disconnect: an NQN, or a device');
          const controllers =
            named === undefined
              ? [...registry.controllers].filter(({ options }) => options.subnqn === wanted)
              : keeper.meant(named).controllers;
          const devices = controllers.map(({ name }) => name);
          await keeper.disconnect(controllers);
          return { disconnected: devices };
        },
      ),
    ],
    ['disconnect-all', method(none, async () => ({ disconnected: await keeper.disconnectAll() }))],

    // ---- changing
    [
      'reset',
      method(z.strictObject({ device }), ({ device: named }) => {
        const reset = keeper.meant(named).controllers.filter((each) => each.reset('asked for'));
        if (reset.length === 0) throw refusal('ENODEV', `${named} is on its way out`);
        return { reset: reset.map(({ name }) => name) };
      }),
    ],
    [
      'rescan',
      method(z.strictObject({ device }), ({ device: named }) => {
        const live = keeper.meant(named).controllers.filter(({ state }) => state.is('live'));
        if (live.length === 0)
          throw refusal('EAGAIN', `${named} is not connected now; it is looked at when it is`);
        for (const each of live) each.rescan();
        return { rescanned: live.map(({ name }) => name) };
      }),
    ],
    [
      'set',
      method(
        z.strictObject({ device, ...recovery, ...heads, preferred: z.boolean().exactOptional() }),
        async ({ device: named, preferred, ...settings }) => {
          const meant = keeper.meant(named);
          if (preferred !== undefined)
            for (const each of meant.controllers) each.subsystem?.prefer(each, preferred);
          if (preferred === undefined && Object.keys(settings).length === 0)
            throw refusal('EINVAL', 'there is nothing to set');
          await keeper.set(meant, { ...settings, ...(preferred !== undefined && { preferred }) });
          const warnings = new Set(meant.controllers.flatMap((each) => contradictions(each.recovery)));
          return { warnings: [...warnings] };
        },
      ),
    ],
    ['log-level', method(z.strictObject({ level: z.enum(LOG_LEVELS) }), ({ level }) => setLogLevel(level))],

    // ---- transport ports (PORT.1 to PORT.11)
    ['port-list', method(none, () => ({ ports: describePorts(registry) }))],
    [
      'port-add',
      method(port, async ({ host_traddr, host_iface, traddr, trsvcid = 4420 }) => {
        const local = localName({ localHost: host_traddr, localInterface: host_iface });
        if (traddr === undefined) registry.ports.addLocal(local);
        else registry.ports.addRemote(local, { host: traddr, port: trsvcid });
        await keeper.portsChanged();
        return { ports: describePorts(registry) };
      }),
    ],
    [
      'port-remove',
      method(port, async ({ host_traddr, host_iface, traddr, trsvcid = 4420 }) => {
        const { ports } = registry;
        const local = ports.locals.get(localName({ localHost: host_traddr, localInterface: host_iface }));
        const remote = [...(local?.remotes.values() ?? [])].find(
          ({ address }) => address.host === traddr && address.port === trsvcid,
        );
        if ((traddr === undefined ? local : remote) === undefined)
          throw refusal('ENOENT', 'there is no such port; "nvmetcp host port list" tells which there are');
        await new Promise<void>((resolve) => {
          if (remote !== undefined) ports.removeRemote(remote, resolve);
          else if (local !== undefined) ports.removeLocal(local, resolve);
        });
        await keeper.portsChanged();
        env.trace.event('info', 'transport port removed', { host_traddr, host_iface, traddr, trsvcid });
        return { ports: describePorts(registry) };
      }),
    ],
  ]);
}
