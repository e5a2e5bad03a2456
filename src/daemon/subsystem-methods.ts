/** Methods about subsystems, their hosts and controllers. */
import { z } from 'zod';
import { randomSerial } from '../api/target-state.ts';
import { DEFAULT_MODEL } from '../config/apply.ts';
import { LAST_CNTLID } from '../config/document.ts';
import {
  addHost,
  addListener,
  addSubsystem,
  meantPort,
  removeHost,
  removeSubsystem,
  setHosts,
  setSubsystem,
} from '../config/edit.ts';
import { firmware, ieeeOui, ioQueues, model, nqn, serial, whole } from '../config/values.ts';
import { type Method, method } from './control-server.ts';
import { type TargetScope, force, hosts, port, subsystem } from './target-scope.ts';

export const subsystemMethods = (scope: TargetScope): [string, Method][] => [
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
        ioQueues: ioQueues.optional(),
        firmware: firmware.optional(),
        ieeeOui: ieeeOui.optional(),
        ana: z.boolean().default(true),
        ports: z.array(port).optional(),
      }),
      (params) => {
        const { hosts: admitted, cntlids, ports } = params;
        return scope.change((document) => {
          const made = addSubsystem({
            nqn: params.nqn,
            serial: params.serial ?? randomSerial(scope.parts.env.random),
            model: params.model ?? DEFAULT_MODEL,
            shared: params.shared,
            ...(admitted && { hosts: [...new Set(admitted)] }),
            ...(cntlids && { cntlids }),
            ...(params.ioQueues !== undefined && { ioQueues: params.ioQueues }),
            ...(params.firmware !== undefined && { firmware: params.firmware }),
            ...(params.ieeeOui !== undefined && { ieeeOui: params.ieeeOui }),
            ...(!params.ana && { ana: false as const }),
            namespaces: [],
          })(document);
          const offering = ports?.map((each) => meantPort(made, each)) ?? [];
          return offering.reduce((next, { id }) => addListener(id, params.nqn)(next), made);
        });
      },
    ),
  ],
  [
    'set-subsystem',
    method(
      z.strictObject({
        subsystem,
        // Null: what there is without it.
        ioQueues: ioQueues.nullable().optional(),
        firmware: firmware.nullable().optional(),
      }),
      ({ subsystem: named, ...settings }) =>
        scope.change(scope.inSubsystem(named, (name) => setSubsystem(name, settings))),
    ),
  ],
  [
    'remove-subsystem',
    method(z.strictObject({ nqn, force }), (params) =>
      scope.change(removeSubsystem(params.nqn), { force: params.force }),
    ),
  ],
  [
    'add-host',
    method(z.strictObject({ subsystem, host: nqn }), (params) =>
      scope.change(scope.inSubsystem(params.subsystem, (name) => addHost(name, params.host))),
    ),
  ],
  [
    'remove-host',
    method(z.strictObject({ subsystem, host: nqn }), (params) =>
      scope.change(scope.inSubsystem(params.subsystem, (name) => removeHost(name, params.host))),
    ),
  ],
  [
    'allow-any-host',
    method(z.strictObject({ subsystem, allow: z.boolean() }), (params) =>
      scope.change(
        scope.inSubsystem(params.subsystem, (name) => setHosts(name, params.allow ? undefined : [])),
      ),
    ),
  ],

  [
    'kick',
    method(
      z.strictObject({ subsystem, cntlid: whole(1, LAST_CNTLID), abrupt: z.boolean().default(false) }),
      (params) => {
        const controller = scope.controllerOf(scope.running(params.subsystem), params.cntlid);
        const queues = [controller.admin, ...controller.ioQueues.values()];
        if (params.abrupt) for (const { connection } of queues) connection.transport.reset();
        else controller.remove('controller removed');
        return { host: controller.hostnqn, connections: queues.length };
      },
    ),
  ],
];
