/** Methods about namespaces: which there are, who sees them, who has them. */
import { z } from 'zod';
import { answer, refusal } from '../api/answer.ts';
import { refresh, resize } from '../api/resize.ts';
import { describe, exportOne } from '../api/target-parts.ts';
import { eui64Problem, nguidProblem, pathProblem, uuidProblem } from '../config/checks.ts';
import { ANA_GROUPS, LAST_CNTLID, LAST_NSID } from '../config/document.ts';
import {
  enableNamespace,
  maskNamespace,
  meantSubsystem,
  moveNamespace,
  removeNamespace,
} from '../config/edit.ts';
import { blockSize, text, whole } from '../config/values.ts';
import { statusName } from '../nvme/status.ts';
import type { Namespace } from '../target/namespace.ts';
import { type Method, method } from './control-server.ts';
import { type TargetScope, aNamespace, hosts, subsystem } from './target-scope.ts';

const size = z.union([whole(1, Number.MAX_SAFE_INTEGER), z.string()]);

const common = {
  subsystem,
  nsid: whole(1, LAST_NSID).optional(),
  uuid: text(uuidProblem).optional(),
  nguid: text(nguidProblem).optional(),
  eui64: text(eui64Problem).optional(),
  blockSize: blockSize.optional(),
  anagrpid: whole(1, ANA_GROUPS).optional(),
  shared: z.boolean().optional(),
  hosts: hosts.optional(),
};

/** Whose a private namespace is: on stable storage before it is answered (DISK.3). */
const settled = (namespace: Namespace): Promise<unknown> =>
  answer<undefined>((done) => namespace.factsSettled(done));

const attachment = (scope: TargetScope, verb: 'attach' | 'detach'): Method =>
  method(z.strictObject({ ...aNamespace, cntlid: whole(1, LAST_CNTLID) }), async (params) => {
    const namespace = scope.namespaceOf(params.subsystem, params.nsid);
    const owner = namespace.subsystem;
    const status = owner[verb](namespace, scope.controllerOf(owner, params.cntlid));
    if (status !== 0)
      throw refusal('EINVAL', `namespace ${params.nsid} stays as it is: ${statusName(status)}`);
    await settled(namespace);
  });

export const namespaceMethods = (scope: TargetScope): [string, Method][] => [
  [
    'add-namespace',
    method(
      z.union([
        z.strictObject({
          ...common,
          file: text(pathProblem),
          size: size.optional(),
          readOnly: z.boolean().optional(),
        }),
        z.strictObject({ ...common, memory: size }),
      ]),
      async ({ subsystem: named, ...request }) =>
        describe(
          await exportOne(scope.parts, meantSubsystem(scope.parts.control.wanted, named).nqn, request),
        ),
    ),
  ],
  [
    'remove-namespace',
    method(z.strictObject(aNamespace), (params) =>
      scope.change(scope.inSubsystem(params.subsystem, (name) => removeNamespace(name, params.nsid))),
    ),
  ],
  ...([true, false] as const).map((on): [string, Method] => [
    on ? 'enable-namespace' : 'disable-namespace',
    method(z.strictObject(aNamespace), (params) =>
      scope.change(scope.inSubsystem(params.subsystem, (name) => enableNamespace(name, params.nsid, on))),
    ),
  ]),
  [
    'resize-namespace',
    method(z.strictObject({ ...aNamespace, size: size.optional() }), async (params) => {
      const namespace = scope.namespaceOf(params.subsystem, params.nsid);
      if (params.size === undefined) await refresh(namespace);
      else await resize(namespace, params.size);
      return describe(namespace);
    }),
  ],
  [
    'move-namespace',
    method(z.strictObject({ ...aNamespace, anagrpid: whole(1, ANA_GROUPS) }), (params) =>
      scope.change(
        scope.inSubsystem(params.subsystem, (name) => moveNamespace(name, params.nsid, params.anagrpid)),
      ),
    ),
  ],
  [
    'mask-namespace',
    method(z.strictObject({ ...aNamespace, hosts: hosts.nullable() }), (params) =>
      scope.change(
        scope.inSubsystem(params.subsystem, (name) =>
          maskNamespace(name, params.nsid, params.hosts ?? undefined),
        ),
      ),
    ),
  ],
  [
    'release-namespace',
    method(z.strictObject(aNamespace), async (params) => {
      const namespace = scope.namespaceOf(params.subsystem, params.nsid);
      namespace.subsystem.release(namespace);
      await settled(namespace);
    }),
  ],
  ['attach-namespace', attachment(scope, 'attach')],
  ['detach-namespace', attachment(scope, 'detach')],
];
