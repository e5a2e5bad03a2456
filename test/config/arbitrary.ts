// Documents for property tests.
import fc from 'fast-check';
import {
  ANA_STATES,
  type NamespaceEntry,
  type PortEntry,
  type TargetDocument,
} from '../../src/config/document.ts';

const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
export const uuid = fc
  .tuple(hex(8), hex(4), hex(4), hex(4), hex(12))
  .map((parts) => parts.join('-'))
  .filter((text) => !/^[0-]*$/.test(text));
const nqn = fc.integer({ min: 0, max: 4 }).map((n) => `nqn.2024-01.test:${n}`);
const hosts = fc.uniqueArray(
  fc.integer({ min: 0, max: 3 }).map((n) => `nqn.2024-01.host:${n}`),
  { maxLength: 3 },
);

const common = {
  nsid: fc.integer({ min: 1, max: 8 }),
  uuid,
  blockSize: fc.constantFrom(512, 4096),
  readOnly: fc.boolean(),
  anagrpid: fc.integer({ min: 1, max: 3 }),
  enabled: fc.boolean(),
  shared: fc.boolean(),
};
const file: fc.Arbitrary<NamespaceEntry> = fc.record({
  ...common,
  path: fc.string().map((path) => `/${path.replaceAll('\0', '')}`),
  fileId: fc.tuple(fc.nat(), fc.nat()).map((pair) => pair.join(':')),
  born: fc.bigInt({ min: 1n, max: 2n ** 63n }).map(String),
});
const memory: fc.Arbitrary<NamespaceEntry> = fc
  .record({ ...common, memory: fc.integer({ min: 1, max: 100 }).map((n) => n * 4096) })
  .map((entry) => ({ ...entry, readOnly: false, enabled: true }));
const maybe = <T, K extends string>(key: K, value: fc.Arbitrary<T>) =>
  fc
    .option(value, { nil: undefined })
    .map((each) => (each === undefined ? {} : { [key]: each }) as { [P in K]?: T });
export const namespace: fc.Arbitrary<NamespaceEntry> = fc
  .tuple(
    fc.oneof(file, memory),
    maybe('hosts', hosts),
    maybe(
      'nguid',
      hex(32).filter((text) => !/^0*$/.test(text)),
    ),
    maybe(
      'eui64',
      hex(16).filter((text) => !/^0*$/.test(text)),
    ),
  )
  .map(([entry, mask, nguid, eui64]) => ({ ...entry, ...mask, ...nguid, ...eui64 }));

const subsystem = fc
  .tuple(
    fc.record({
      nqn,
      serial: fc.stringMatching(/^[!-~]{1,20}$/),
      model: fc.stringMatching(/^[!-~]{1,40}$/),
      shared: fc.boolean(),
      namespaces: fc.uniqueArray(namespace, { maxLength: 3, selector: ({ nsid }) => nsid }),
    }),
    maybe('hosts', hosts),
    maybe('ioQueues', fc.constantFrom(1, 2, 128)),
    maybe('firmware', fc.stringMatching(/^[!-~]{1,8}$/)),
    maybe('ieeeOui', fc.stringMatching(/^[0-9a-f]{5}[1-9a-f]$/)),
    maybe('ana', fc.constant(false as const)),
  )
  .map(([entry, allowed, queues, firmware, oui, ana]) => ({
    ...entry,
    ...allowed,
    ...queues,
    ...firmware,
    ...oui,
    ...ana,
    namespaces: entry.namespaces.toSorted((a, b) => a.nsid - b.nsid),
  }));

const port = fc.record({
  id: fc.integer({ min: 1, max: 5 }),
  enabled: fc.boolean(),
  offers: fc.uniqueArray(fc.nat(4), { maxLength: 3 }),
  ana: fc.uniqueArray(
    // A file does not say which optimized groups are there.
    fc.record({ grpid: fc.integer({ min: 1, max: 3 }), state: fc.constantFrom(...ANA_STATES.slice(1)) }),
    { maxLength: 3, selector: ({ grpid }) => grpid },
  ),
  referrals: fc.constantFrom(0, 1),
  settings: fc.tuple(
    maybe('inlineDataSize', fc.constantFrom(0, 4096)),
    maybe('maxQueueSize', fc.constantFrom(16, 128)),
  ),
});

export const document: fc.Arbitrary<TargetDocument> = fc
  .record({
    subsystems: fc.uniqueArray(subsystem, { maxLength: 3, selector: (each) => each.nqn }),
    ports: fc.uniqueArray(port, { maxLength: 3, selector: ({ id }) => id }),
  })
  .map(({ subsystems, ports }) => ({
    version: 2 as const,
    subsystems,
    ports: ports
      .map(({ id, enabled, offers, ana, referrals, settings: [inline, queues] }): PortEntry => ({
        id,
        address: `127.0.0.${id}:4420`,
        enabled,
        subsystems: subsystems.flatMap((each, i) => (offers.includes(i) ? [each.nqn] : [])),
        ana: ana.toSorted((a, b) => a.grpid - b.grpid),
        referrals: [{ name: 'one', address: '[::1]:8009', id: 3 }].slice(referrals),
        ...inline,
        ...queues,
      }))
      .sort((a, b) => a.id - b.id),
  }))
  .filter(({ subsystems }) => {
    const all = subsystems.flatMap(({ namespaces }) => namespaces);
    const values = (key: 'uuid' | 'nguid' | 'path' | 'fileId') =>
      all.flatMap((entry) => (entry as Partial<Record<typeof key, string>>)[key] ?? []);
    return (['uuid', 'nguid', 'path', 'fileId'] as const).every(
      (key) => new Set(values(key)).size === values(key).length,
    );
  });
