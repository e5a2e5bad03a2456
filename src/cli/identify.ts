/** `nvmetcp id-ctrl`, `id-ns`, `list-ns`: what a controller says about itself and its namespaces. */
import type { Command } from 'commander';
import type { Field } from '../layout/field.ts';
import { viewOf } from '../layout/struct.ts';
import { IdController } from '../nvme/identify-controller.ts';
import { IdNamespace } from '../nvme/identify-namespace.ts';
import {
  type ConnectFlags,
  EXAMPLE,
  addConnectFlags,
  addNsidFlag,
  addOutputFlag,
  withController,
} from './connection.ts';
import { type OutputFlags, print } from './print.ts';

type Flags = ConnectFlags & OutputFlags;
type NsidFlags = Flags & { readonly nsid: number };
type Raw = number | bigint | string | readonly unknown[];
type Table = Readonly<Record<string, Field<unknown>>>;

/** nvme-cli's names for what it names otherwise. */
const LISTS: Readonly<
  Record<string, { readonly name: string; readonly fields: Readonly<Record<string, string>> }>
> = {
  lbaf: { name: 'lbafs', fields: { ms: 'ms', lbads: 'ds', 'rp.rp': 'rp' } },
  psd: {
    name: 'psds',
    fields: {
      mp: 'max_power',
      'flags.mxps': 'max_power_scale',
      'flags.nops': 'non-operational_state',
      enlat: 'entry_lat',
      exlat: 'exit_lat',
      rrt: 'read_tput',
      rrl: 'read_lat',
      rwt: 'write_tput',
      rwl: 'write_lat',
      idlp: 'idle_power',
      'ips.ips': 'idle_scale',
      actp: 'active_power',
      'apw.apw': 'active_power_work',
      'apw.aps': 'active_scale',
      epfrt: 'emerg_power_fail_recover_time',
      'scales.epfrts': 'emerg_power_fail_recover_scale',
      fqvt: 'force_quiesce_vault_time',
      'scales.fqvts': 'force_quiesce_vault_scale',
      epfvt: 'emerg_power_fail_vault_time',
      'epfvts.epfvts': 'emerg_power_fail_vault_scale',
    },
  },
};

/** A field as nvme-cli prints it: the number that is on the wire, a text without its padding, bytes as digits. */
function raw(name: string, field: Field<unknown>, bytes: Uint8Array): Raw {
  const value = field.decode(viewOf(bytes), 0);
  if (typeof value === 'string') return value.trimEnd();
  const wire = bytes.subarray(field.offset, field.offset + field.size);
  if (value instanceof Uint8Array && wire.length > 4) {
    const digits = Buffer.from(wire).toString('hex');
    return name === 'fguid' ? digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') : digits;
  }
  const number = wire.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return number <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(number) : number;
}

/** Rows of a structure, by nvme-cli's names. `counts`: how many items of each list are meant. */
function rows(
  table: Table,
  bytes: Uint8Array,
  counts: Readonly<Record<string, number>>,
): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(table)) {
    if (field.reserved || name === 'vs' || name === 'mi') continue;
    const list = LISTS[name];
    if (!list) {
      result[name] = raw(name, field, bytes);
      continue;
    }
    const items = field.decode(viewOf(bytes), 0) as readonly Record<string, unknown>[];
    result[list.name] = items
      .slice(0, counts[name] ?? 0)
      .map((item) =>
        Object.fromEntries(Object.entries(list.fields).map(([ours, theirs]) => [theirs, partOf(item, ours)])),
      );
  }
  return result;
}

/** `path`: the name of a field, and behind a point that of a part of it. */
function partOf(item: Readonly<Record<string, unknown>>, path: string): unknown {
  const [name = '', part] = path.split('.');
  const value = item[name];
  return part === undefined ? value : (value as Readonly<Record<string, unknown>>)[part];
}

/** One row a line: the raw value, and what its bits or numbers mean where the table knows. */
function lines(table: Table, bytes: Uint8Array, shown: Readonly<Record<string, unknown>>): string {
  const width = Math.max(...Object.keys(shown).map((name) => name.length));
  return Object.entries(shown)
    .map(([name, value]) => {
      if (Array.isArray(value)) return value.map((item, i) => `${name} ${i}: ${pairs(item)}`).join('\n');
      const field = table[name];
      const decoded = field?.decode(viewOf(bytes), 0);
      const isBits =
        field && typeof decoded === 'object' && !(decoded instanceof Uint8Array) && typeof value === 'number';
      const meaning = isBits ? field.format(viewOf(bytes), 0) : '';
      const text = isBits ? `0x${value.toString(16)}` : String(value);
      return `${name.padEnd(width)} : ${text}${meaning === '' ? '' : `  (${meaning})`}`;
    })
    .join('\n');
}

const pairs = (item: unknown): string =>
  Object.entries(item as object)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ');

async function idCtrl(flags: Flags): Promise<void> {
  const { value, bytes } = await withController(flags, ({ controller }) => controller.identify());
  const shown = rows(IdController.fields, bytes, { psd: value.npss });
  print(flags, shown, () => `NVME Identify Controller:\n${lines(IdController.fields, bytes, shown)}`);
}

async function idNs(flags: NsidFlags): Promise<void> {
  const { value, bytes } = await withController(flags, ({ controller }) =>
    controller.identifyNamespace(flags.nsid),
  );
  const shown = rows(IdNamespace.fields, bytes, { lbaf: value.nlbaf + value.nulbaf });
  print(
    flags,
    shown,
    () => `NVME Identify Namespace ${flags.nsid}:\n${lines(IdNamespace.fields, bytes, shown)}`,
  );
}

async function listNs(flags: Flags): Promise<void> {
  const nsids = await withController(flags, ({ controller }) => controller.listNamespaces());
  const shown = { nsid_list: nsids.map((nsid) => ({ nsid })) };
  print(
    flags,
    shown,
    () => nsids.map((nsid, i) => `[${String(i).padStart(4)}]:0x${nsid.toString(16)}\n`).join('') || '\n',
  );
}

export function addIdentify(program: Command): void {
  addOutputFlag(addConnectFlags(program.command('id-ctrl')))
    .description('Identify Controller: what the controller is and can do.')
    .addHelpText('after', `\nExamples:\n  nvmetcp id-ctrl ${EXAMPLE}\n  nvmetcp id-ctrl ${EXAMPLE} -o json`)
    .action(idCtrl);
  addNsidFlag(addOutputFlag(addConnectFlags(program.command('id-ns'))))
    .description('Identify Namespace: size, block format and features of a namespace.')
    .addHelpText(
      'after',
      `\nExamples:\n  nvmetcp id-ns ${EXAMPLE}\n  nvmetcp id-ns ${EXAMPLE} --nsid 2 -o json`,
    )
    .action(idNs);
  addOutputFlag(addConnectFlags(program.command('list-ns')))
    .description('The namespaces that this host may use.')
    .addHelpText('after', `\nExamples:\n  nvmetcp list-ns ${EXAMPLE}\n  nvmetcp list-ns ${EXAMPLE} -o json`)
    .action(listNs);
}
