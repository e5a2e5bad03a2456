/** What the control socket of a target understands: each method's params, and what it does (docs/control.md). */
import { z } from 'zod';
import { refusal } from '../api/answer.ts';
import { resize, refresh } from '../api/resize.ts';
import { parseConfig, withConfig } from '../api/target-config.ts';
import type { ChangeOptions } from '../api/target-control.ts';
import { type TargetParts, describe, exportOne } from '../api/target-parts.ts';
import { randomSerial } from '../api/target-state.ts';
import { DEFAULT_MODEL } from '../config/apply.ts';
import { nguidProblem, pathProblem, uuidProblem } from '../config/checks.ts';
import {
  ANA_GROUPS,
  ANA_STATES,
  LAST_CNTLID,
  LAST_NSID,
  LAST_PORT_ID,
  type PortEntry,
} from '../config/document.ts';
import {
  type Edit,
  addHost,
  addListener,
  addPort,
  addReferral,
  addSubsystem,
  checkedAddress,
  enableNamespace,
  enablePort,
  freePortId,
  maskNamespace,
  meantPort,
  meantSubsystem,
  moveNamespace,
  removeHost,
  removeListener,
  removeNamespace,
  removePort,
  removeReferral,
  removeSubsystem,
  setAna,
  setHosts,
} from '../config/edit.ts';
import { writeConfig } from '../config/nvmet-write.ts';
import { type Change, describeChange, groupsOf } from '../config/plan.ts';
import { blockSize, model, nqn, serial, text, whole } from '../config/schema.ts';
import { statusName } from '../nvme/status.ts';
import type { Controller } from '../target/controller.ts';
import type { Namespace } from '../target/namespace.ts';
import type { Subsystem } from '../target/subsystem.ts';
import { type Method, type Methods, method } from './control-server.ts';
import { drain } from './drain.ts';
import { LOG_LEVELS, type LogLevel } from './log-levels.ts';
import { showConnections, showTarget } from './show.ts';

export interface MethodParts extends TargetParts {
  setLogLevel(level: LogLevel): void;
}

const none = z.strictObject({});
/** Only needed where there are several. */
const subsystem = nqn.optional();
const nsid = whole(1, LAST_NSID);
const size = z.union([whole(1, Number.MAX_SAFE_INTEGER), z.string()]);
/** Its id, or its address. */
const port = z.union([whole(0, LAST_PORT_ID), z.string()]);
const force = z.boolean().default(false);
const hosts = z.array(nqn);
const aNamespace = { subsystem, nsid };
const absolute = text(pathProblem);

const common = {
  subsystem,
  nsid: nsid.optional(),
  uuid: text(uuidProblem).optional(),
  nguid: text(nguidProblem).optional(),
  blockSize: blockSize.optional(),
  anagrpid: whole(1, ANA_GROUPS).optional(),
  shared: z.boolean().optional(),
  hosts: hosts.optional(),
};

const linesOf = (plan: readonly Change[]): { changes: string[] } => ({ changes: plan.map(describeChange) });

export function targetMethods(parts: MethodParts): Methods {
  const { control, target, env } = parts;

  const change = async (edit: Edit, options: ChangeOptions = {}): Promise<{ changes: string[] }> =>
    linesOf(await control.change((document) => ({ document: edit(document) }), options));
  /** An edit of the subsystem that is meant, which is found when it is the edit's turn. */
  const inSubsystem =
    (named: string | undefined, edit: (nqn: string) => Edit): Edit =>
    (document) =>
      edit(meantSubsystem(document, named).nqn)(document);
  const onPort =
    (named: string | number, edit: (id: number) => Edit): Edit =>
    (document) =>
      edit(meantPort(document, named).id)(document);

  const running = (named: string | undefined): Subsystem => {
    const found = target.subsystems.get(meantSubsystem(control.wanted, named).nqn);
    if (found === undefined) throw refusal('ENOENT', `there is no subsystem ${named ?? ''}`);
    return found;
  };
  const namespaceOf = (named: string | undefined, id: number): Namespace => {
    const owner = running(named);
    const found = owner.namespaces.get(id);
    if (found === undefined) throw refusal('ENOENT', `there is no namespace ${id} of ${owner.nqn}`);
    return found;
  };
  const controllerOf = (owner: Subsystem, cntlid: number): Controller => {
    const found = owner.controllers.get(cntlid);
    if (found === undefined) throw refusal('ENOENT', `there is no controller ${cntlid} of ${owner.nqn}`);
    return found;
  };
  const attachment = (verb: 'attach' | 'detach'): Method =>
    method(z.strictObject({ ...aNamespace, cntlid: whole(1, LAST_CNTLID) }), (params) => {
      const namespace = namespaceOf(params.subsystem, params.nsid);
      const owner = namespace.subsystem;
      const status = owner[verb](namespace, controllerOf(owner, params.cntlid));
      if (status !== 0)
        throw refusal('EINVAL', `namespace ${params.nsid} stays as it is: ${statusName(status)}`);
    });

  return new Map<string, Method>([
    ['show', method(none, () => showTarget(control))],
    ['connections', method(none, () => ({ connections: showConnections(control) }))],

    // ---- subsystems
    [
      'add-subsystem',
      method(
        z.strictObject({
          nqn,
          serial: serial.optional(),
          model: model.optional(),
          shared: z.boolean().default(true),
          hosts: hosts.optional(),
          cntlids: z.tuple([whole(1, LAST_CNTLID), whole(1, LAST_CNTLID)]).optional(),
          ports: z.array(port).optional(),
        }),
        (params) => {
          const { hosts: admitted, cntlids, ports } = params;
          return change((document) => {
            const made = addSubsystem({
              nqn: params.nqn,
              serial: params.serial ?? randomSerial(env.random),
              model: params.model ?? DEFAULT_MODEL,
              shared: params.shared,
              ...(admitted && { hosts: [...new Set(admitted)] }),
              ...(cntlids && { cntlids }),
              namespaces: [],
            })(document);
            const offering = ports?.map((each) => meantPort(made, each)) ?? [];
            return offering.reduce((next, { id }) => addListener(id, params.nqn)(next), made);
          });
        },
      ),
    ],
    [
      'remove-subsystem',
      method(z.strictObject({ nqn, force }), (params) =>
        change(removeSubsystem(params.nqn), { force: params.force }),
      ),
    ],
    [
      'add-host',
      method(z.strictObject({ subsystem, host: nqn }), (params) =>
        change(inSubsystem(params.subsystem, (name) => addHost(name, params.host))),
      ),
    ],
    [
      'remove-host',
      method(z.strictObject({ subsystem, host: nqn }), (params) =>
        change(inSubsystem(params.subsystem, (name) => removeHost(name, params.host))),
      ),
    ],
    [
      'allow-any-host',
      method(z.strictObject({ subsystem, allow: z.boolean() }), (params) =>
        change(inSubsystem(params.subsystem, (name) => setHosts(name, params.allow ? undefined : []))),
      ),
    ],

    // ---- namespaces
    [
      'add-namespace',
      method(
        z.union([
          z.strictObject({
            ...common,
            file: absolute,
            size: size.optional(),
            readOnly: z.boolean().optional(),
          }),
          z.strictObject({ ...common, memory: size }),
        ]),
        async ({ subsystem: named, ...request }) =>
          describe(await exportOne(parts, meantSubsystem(control.wanted, named).nqn, request)),
      ),
    ],
    [
      'remove-namespace',
      method(z.strictObject(aNamespace), (params) =>
        change(inSubsystem(params.subsystem, (name) => removeNamespace(name, params.nsid))),
      ),
    ],
    ...([true, false] as const).map((on): [string, Method] => [
      on ? 'enable-namespace' : 'disable-namespace',
      method(z.strictObject(aNamespace), (params) =>
        change(inSubsystem(params.subsystem, (name) => enableNamespace(name, params.nsid, on))),
      ),
    ]),
    [
      'resize-namespace',
      method(z.strictObject({ ...aNamespace, size: size.optional() }), async (params) => {
        const namespace = namespaceOf(params.subsystem, params.nsid);
        if (params.size === undefined) await refresh(namespace);
        else await resize(namespace, params.size);
        return describe(namespace);
      }),
    ],
    [
      'move-namespace',
      method(z.strictObject({ ...aNamespace, anagrpid: whole(1, ANA_GROUPS) }), (params) =>
        change(inSubsystem(params.subsystem, (name) => moveNamespace(name, params.nsid, params.anagrpid))),
      ),
    ],
    [
      'mask-namespace',
      method(z.strictObject({ ...aNamespace, hosts: hosts.nullable() }), (params) =>
        change(
          inSubsystem(params.subsystem, (name) =>
            maskNamespace(name, params.nsid, params.hosts ?? undefined),
          ),
        ),
      ),
    ],
    [
      'release-namespace',
      method(z.strictObject(aNamespace), (params) => {
        const namespace = namespaceOf(params.subsystem, params.nsid);
        namespace.subsystem.release(namespace);
      }),
    ],
    ['attach-namespace', attachment('attach')],
    ['detach-namespace', attachment('detach')],

    // ---- ports
    [
      'add-port',
      method(
        z.strictObject({
          address: z.string(),
          id: whole(1, LAST_PORT_ID).optional(),
          /** Without it every one that there is now. */
          subsystems: z.array(nqn).optional(),
        }),
        async (params) => {
          const address = checkedAddress(params.address);
          let id = 0;
          const { changes } = await change((document) => {
            const { subsystems } = document;
            id = params.id ?? freePortId(document);
            const entry: PortEntry = {
              id,
              address,
              enabled: true,
              subsystems: params.subsystems ?? subsystems.map((each) => each.nqn),
              ana: [],
              referrals: [],
              ...(address.endsWith(':0') && { volatile: true as const }),
            };
            return addPort(entry)(document);
          });
          return { changes, port: showTarget(control).ports.find((each) => each.id === id) };
        },
      ),
    ],
    ['remove-port', method(z.strictObject({ port }), (params) => change(onPort(params.port, removePort)))],
    ...([true, false] as const).map((on): [string, Method] => [
      on ? 'enable-port' : 'disable-port',
      method(z.strictObject({ port }), (params) => change(onPort(params.port, (id) => enablePort(id, on)))),
    ]),
    [
      'add-listener',
      method(z.strictObject({ port, subsystem }), (params) =>
        change(onPort(params.port, (id) => inSubsystem(params.subsystem, (name) => addListener(id, name)))),
      ),
    ],
    [
      'remove-listener',
      method(z.strictObject({ port, subsystem }), (params) =>
        change(
          onPort(params.port, (id) => inSubsystem(params.subsystem, (name) => removeListener(id, name))),
        ),
      ),
    ],
    [
      'set-ana',
      method(
        z.strictObject({
          port,
          /** Without it every group that is named somewhere. */
          anagrpid: whole(1, ANA_GROUPS).optional(),
          state: z.enum(ANA_STATES),
        }),
        (params) =>
          change(
            onPort(params.port, (id) => (document) => {
              const groups = params.anagrpid === undefined ? groupsOf(document) : [params.anagrpid];
              return groups.reduce((next, grpid) => setAna(id, grpid, params.state)(next), document);
            }),
          ),
      ),
    ],
    [
      'add-referral',
      method(
        z.strictObject({ port, name: text(), address: z.string(), id: whole(0, LAST_PORT_ID).default(0) }),
        (params) => {
          const { name, address, id: portid } = params;
          return change(
            onPort(params.port, (id) =>
              addReferral(id, { name, address: checkedAddress(address), id: portid }),
            ),
          );
        },
      ),
    ],
    [
      'remove-referral',
      method(z.strictObject({ port, name: text() }), (params) =>
        change(onPort(params.port, (id) => removeReferral(id, params.name))),
      ),
    ],

    // ---- hosts that are connected
    [
      'kick',
      method(
        z.strictObject({ subsystem, cntlid: whole(1, LAST_CNTLID), abrupt: z.boolean().default(false) }),
        (params) => {
          const controller = controllerOf(running(params.subsystem), params.cntlid);
          const queues = [controller.admin, ...controller.ioQueues.values()];
          if (params.abrupt) for (const { connection } of queues) connection.transport.reset();
          else controller.remove('controller removed');
          return { host: controller.hostnqn, connections: queues.length };
        },
      ),
    ],
    [
      'drain-port',
      method(
        z.strictObject({
          port,
          /** Seconds. */
          timeout: z.number().min(0).max(86_400).default(60),
          force,
        }),
        (params, caller) => {
          const { id } = meantPort(control.wanted, params.port);
          return drain(control, id, { patience: params.timeout * 1000, force: params.force }, caller);
        },
      ),
    ],

    // ---- the whole
    [
      'log-level',
      method(z.strictObject({ level: z.enum(LOG_LEVELS) }), ({ level }) => {
        parts.setLogLevel(level);
      }),
    ],
    [
      'plan',
      method(z.strictObject({ config: z.string() }), async (params) => {
        const read = parseConfig(params.config);
        const plan = await control.plan((document) => withConfig(parts, document, read));
        return { ...linesOf(plan), unsupported: read.unsupported };
      }),
    ],
    [
      'apply',
      method(z.strictObject({ config: z.string(), force }), async (params) => {
        const read = parseConfig(params.config);
        const plan = await control.change((document) => withConfig(parts, document, read), {
          force: params.force,
          lenient: ({ kind }, { code }) => kind === 'add port' && code === 'EADDRNOTAVAIL',
        });
        return { ...linesOf(plan), unsupported: read.unsupported, pending: showTarget(control).pending };
      }),
    ],
    [
      'save',
      method(z.strictObject({ nvmet: z.boolean().default(false) }), (params) => {
        const { json, lost } = writeConfig(control.wanted, !params.nvmet);
        return { config: json, lost };
      }),
    ],
  ]);
}
