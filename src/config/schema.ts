/**
 * The state document as text: read, checked, and brought to the version of today. People may read it, and edit it while
 * the target does not run; so it is checked like any other input, and what is wrong is said by its path.
 */
import { z } from 'zod';
import { addressOf, formatAddress, withoutCovered } from './address.ts';
import { checked, parseJson } from './checked.ts';
import { pathProblem } from './checks.ts';
import { consistencyProblem } from './consistency.ts';
import type { NamespaceEntry, TargetDocument } from './document.ts';
import { ConfigError } from './problem.ts';
import {
  address,
  anaGroup,
  anaState,
  anyPortId,
  blockSize,
  cntlid,
  eui64,
  firmware,
  ieeeOui,
  inlineDataSize,
  ioQueues,
  maxQueueSize,
  model,
  nguid,
  nqn,
  nsid,
  portId,
  serial,
  text,
  uuid,
  whole,
} from './values.ts';

const file = {
  path: text(pathProblem),
  fileId: text().exactOptional(),
  born: text().exactOptional(),
};

const namespace = z
  .strictObject({
    nsid,
    uuid,
    nguid: nguid.exactOptional(),
    eui64: eui64.exactOptional(),
    blockSize,
    readOnly: z.boolean(),
    anagrpid: anaGroup,
    enabled: z.boolean(),
    shared: z.boolean(),
    hosts: z.array(nqn).exactOptional(),
    ...file,
    path: file.path.exactOptional(),
    memory: whole(1, Number.MAX_SAFE_INTEGER).exactOptional(),
  })
  .superRefine((entry, context) => {
    if ((entry.path === undefined) !== (entry.memory === undefined)) return;
    const message = entry.path === undefined ? 'has neither a path nor memory' : 'has both a path and memory';
    context.addIssue({ code: 'custom', message });
  });

const version2 = z.strictObject({
  version: z.literal(2),
  subsystems: z.array(
    z.strictObject({
      nqn,
      serial,
      model,
      shared: z.boolean(),
      ioQueues: ioQueues.exactOptional(),
      firmware: firmware.exactOptional(),
      ieeeOui: ieeeOui.exactOptional(),
      ana: z.literal(false).exactOptional(),
      hosts: z.array(nqn).exactOptional(),
      cntlids: z.tuple([cntlid, cntlid]).exactOptional(),
      namespaces: z.array(namespace),
    }),
  ),
  ports: z.array(
    z.strictObject({
      id: portId,
      address,
      enabled: z.boolean(),
      subsystems: z.array(nqn),
      ana: z.array(z.strictObject({ grpid: anaGroup, state: anaState })),
      referrals: z.array(z.strictObject({ name: text(), address, id: anyPortId })),
      inlineDataSize: inlineDataSize.exactOptional(),
      maxQueueSize: maxQueueSize.exactOptional(),
    }),
  ),
});

/** One subsystem, on every address. */
const version1 = z.strictObject({
  version: z.literal(1),
  nqn,
  serial,
  model,
  hosts: z.array(nqn).exactOptional(),
  listen: z.array(address),
  namespaces: z.array(
    z.strictObject({
      nsid,
      uuid,
      ...file,
      blockSize,
      readOnly: z.boolean(),
    }),
  ),
});

/** Throws a ConfigError that says where and what is wrong. */
export function parseDocument(json: string): TargetDocument {
  const value = parseJson(json);
  const version =
    typeof value === 'object' && value !== null && 'version' in value ? value.version : undefined;
  const document = version === 1 ? upgrade(checked(version1, value)) : current(value, version);
  const problem = consistencyProblem(document);
  if (problem !== undefined) throw problem;
  return document;
}

function current(value: unknown, version: unknown): TargetDocument {
  if (version !== 2 && typeof value === 'object' && value !== null && !Array.isArray(value))
    throw new ConfigError(`version is ${JSON.stringify(version)}, this program knows 1 and 2`, {
      path: 'version',
    });
  return checked(version2, value) as TargetDocument;
}

function upgrade(old: z.infer<typeof version1>): TargetDocument {
  const { hosts, listen } = old;
  return {
    version: 2,
    subsystems: [
      {
        nqn: old.nqn,
        serial: old.serial,
        model: old.model,
        shared: true,
        ...(hosts && { hosts }),
        namespaces: old.namespaces
          .map((entry): NamespaceEntry => ({ ...entry, anagrpid: 1, enabled: true, shared: true }))
          .sort((a, b) => a.nsid - b.nsid),
      },
    ],
    // A wildcard and an address that it covers were one listener.
    ports: withoutCovered(listen.map(addressOf)).map((address, i) => ({
      id: i + 1,
      address: formatAddress(address),
      enabled: true,
      subsystems: [old.nqn],
      ana: [],
      referrals: [],
    })),
  };
}
