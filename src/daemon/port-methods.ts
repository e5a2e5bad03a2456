/** Methods about ports: addresses, what is offered there, ANA states, referrals, draining. */
import { z } from 'zod';
import { ANA_GROUPS, ANA_STATES, LAST_PORT_ID, type PortEntry } from '../config/document.ts';
import {
  addListener,
  addPort,
  addReferral,
  checkedAddress,
  enablePort,
  freePortId,
  meantPort,
  removeListener,
  removePort,
  removeReferral,
  setAna,
  setPort,
} from '../config/edit.ts';
import { groupsOf } from '../config/plan.ts';
import { inlineDataSize, maxQueueSize, nqn, text, whole } from '../config/values.ts';
import { type Method, method } from './control-server.ts';
import { drain } from './drain.ts';
import { showTarget } from './show.ts';
import { type TargetScope, force, port, subsystem } from './target-scope.ts';

export const portMethods = (scope: TargetScope): [string, Method][] => [
  [
    'add-port',
    method(
      z.strictObject({
        address: z.string(),
        id: whole(1, LAST_PORT_ID).optional(),
        /** Without it every one that there is now. */
        subsystems: z.array(nqn).optional(),
        inlineDataSize: inlineDataSize.optional(),
        maxQueueSize: maxQueueSize.optional(),
      }),
      async (params) => {
        const address = checkedAddress(params.address);
        let id = 0;
        const { changes } = await scope.change((document) => {
          const { subsystems } = document;
          id = params.id ?? freePortId(document);
          const entry: PortEntry = {
            id,
            address,
            enabled: true,
            subsystems: params.subsystems ?? subsystems.map((each) => each.nqn),
            ana: [],
            referrals: [],
            ...(params.inlineDataSize !== undefined && { inlineDataSize: params.inlineDataSize }),
            ...(params.maxQueueSize !== undefined && { maxQueueSize: params.maxQueueSize }),
            ...(address.endsWith(':0') && { volatile: true as const }),
          };
          return addPort(entry)(document);
        });
        return { changes, port: showTarget(scope.parts.control).ports.find((each) => each.id === id) };
      },
    ),
  ],
  [
    'set-port',
    method(
      z.strictObject({
        port,
        // Null: what there is without it.
        inlineDataSize: inlineDataSize.nullable().optional(),
        maxQueueSize: maxQueueSize.nullable().optional(),
      }),
      ({ port: named, ...settings }) => scope.change(scope.onPort(named, (id) => setPort(id, settings))),
    ),
  ],
  [
    'remove-port',
    method(z.strictObject({ port }), (params) => scope.change(scope.onPort(params.port, removePort))),
  ],
  ...([true, false] as const).map((on): [string, Method] => [
    on ? 'enable-port' : 'disable-port',
    method(z.strictObject({ port }), (params) =>
      scope.change(scope.onPort(params.port, (id) => enablePort(id, on))),
    ),
  ]),
  [
    'add-listener',
    method(z.strictObject({ port, subsystem }), (params) =>
      scope.change(
        scope.onPort(params.port, (id) =>
          scope.inSubsystem(params.subsystem, (name) => addListener(id, name)),
        ),
      ),
    ),
  ],
  [
    'remove-listener',
    method(z.strictObject({ port, subsystem }), (params) =>
      scope.change(
        scope.onPort(params.port, (id) =>
          scope.inSubsystem(params.subsystem, (name) => removeListener(id, name)),
        ),
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
        scope.change(
          scope.onPort(params.port, (id) => (document) => {
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
        return scope.change(
          scope.onPort(params.port, (id) =>
            addReferral(id, { name, address: checkedAddress(address), id: portid }),
          ),
        );
      },
    ),
  ],
  [
    'remove-referral',
    method(z.strictObject({ port, name: text() }), (params) =>
      scope.change(scope.onPort(params.port, (id) => removeReferral(id, params.name))),
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
        const { control } = scope.parts;
        const { id } = meantPort(control.wanted, params.port);
        return drain(control, id, { patience: params.timeout * 1000, force: params.force }, caller);
      },
    ),
  ],
];
