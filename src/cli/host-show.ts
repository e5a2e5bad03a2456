/** What a host has, for people, as nvme-cli prints it. */
import type { ConnectedShown, FailedShown } from '../daemon/host-methods.ts';
import type { SimpleDevice, SubsystemList, Topology, VerboseList } from '../daemon/host-views.ts';
import type { PortDescription, TimerDescription } from '../initiator/describe.ts';
import type { JournalEntry } from '../initiator/journal.ts';
import type { Why, WhyPath } from '../initiator/why.ts';
import { table } from './table.ts';

/** A table whose headings are underlined. */
export function listing(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, i) =>
    Math.max(heading.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  return table(headings, [widths.map((width) => '-'.repeat(width)), ...rows]);
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'] as const;

/** `1.07  GB`: powers of 1,000, as nvme-cli has it. */
export function usage(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(2).padStart(6)} ${(UNITS[unit] ?? '').padStart(3)}`;
}

const format = (sectorSize: number): string => {
  const kib = sectorSize >= 4096;
  return `${String(kib ? sectorSize / 1024 : sectorSize).padStart(3)} ${kib ? 'KiB' : '  B'} +  0 B`;
};

/** `nvme list`. There are no device files, so there is no column for the generic one. */
export const listText = ({ Devices }: { readonly Devices: readonly SimpleDevice[] }): string =>
  listing(
    ['Node', 'SN', 'Model', 'Namespace', 'Usage', 'Format', 'FW Rev'],
    Devices.map((each) => [
      each.DevicePath,
      each.SerialNumber,
      each.ModelNumber,
      `0x${each.NameSpace.toString(16)}`,
      `${usage(each.UsedBytes)} / ${usage(each.PhysicalSize)}`,
      format(each.SectorSize),
      each.Firmware,
    ]),
  );

/** `nvme list -v`. */
export function verboseListText({ Devices }: VerboseList): string {
  const subsystems = Devices.flatMap((device) => device.Subsystems);
  const controllers = subsystems.flatMap((subsystem) =>
    subsystem.Controllers.map((controller) => [
      controller.Controller,
      controller.Cntlid,
      controller.SerialNumber,
      controller.ModelNumber,
      controller.Firmware,
      controller.Transport,
      controller.Address,
      controller.nvmetcp.state,
      subsystem.Subsystem,
      controller.Paths.map(({ Path }) => Path).join(', '),
    ]),
  );
  const namespaces = subsystems.flatMap((subsystem) =>
    subsystem.Namespaces.map((each) => [
      each.NameSpace,
      `0x${each.NSID.toString(16)}`,
      `${usage(each.UsedBytes)} / ${usage(each.PhysicalSize)}`,
      format(each.SectorSize),
      subsystem.Controllers.map(({ Controller }) => Controller).join(', '),
      each.nvmetcp.nbd ?? '',
    ]),
  );
  return [
    listing(
      ['Subsystem', 'Subsystem-NQN', 'Controllers'],
      subsystems.map((each) => [
        each.Subsystem,
        each.SubsystemNQN,
        each.Controllers.map(({ Controller }) => Controller).join(', '),
      ]),
    ),
    listing(
      ['Device', 'Cntlid', 'SN', 'MN', 'FR', 'TxPort', 'Address', 'State', 'Subsystem', 'Namespaces'],
      controllers,
    ),
    listing(['Device', 'NSID', 'Usage', 'Format', 'Controllers', 'NBD'], namespaces),
  ].join('\n\n');
}

type Headed = Omit<SubsystemList[number]['Subsystems'][number], 'Paths' | 'nvmetcp'>;

function heading(subsystem: Headed, hostnqn: string): string[] {
  const { Name, NQN, IOPolicy, Model, Serial, Firmware, Type } = subsystem;
  const indent = ' '.repeat(Name.length + 3);
  const more =
    Model === undefined ? [] : [`model=${Model}`, `serial=${Serial ?? ''}`, `firmware=${Firmware ?? ''}`];
  const lines = [`hostnqn=${hostnqn}`, ...more, `iopolicy=${IOPolicy}`];
  if (Type !== undefined) lines.push(`type=${Type}`);
  return [`${Name} - NQN=${NQN}`, ...lines.map((line) => `${indent}${line}`), '\\'];
}

/** `nvme list-subsys`. */
export const subsystemsText = (list: SubsystemList): string =>
  list
    .flatMap(({ HostNQN, Subsystems }) =>
      Subsystems.map((subsystem) =>
        [
          ...heading(subsystem, HostNQN),
          ...subsystem.Paths.map(
            ({ Name, Transport, Address, State }) => ` +- ${Name} ${Transport} ${Address} ${State}`,
          ),
        ].join('\n'),
      ),
    )
    .join('\n\n');

/** `nvme show-topology`. */
export const topologyText = (list: Topology): string =>
  list
    .flatMap(({ HostNQN, Subsystems }) =>
      Subsystems.map((subsystem) =>
        [
          ...heading(subsystem, HostNQN),
          ...subsystem.Namespaces.flatMap(({ NSID, Paths, nvmetcp }) => [
            ` +- ns ${NSID} (${nvmetcp.name}, ${nvmetcp.state})`,
            ' \\',
            ...Paths.map(
              ({ Name, Transport, Address, State, ANAState }) =>
                `  +- ${Name} ${Transport} ${Address} ${State} ${ANAState}`,
            ),
          ]),
        ].join('\n'),
      ),
    )
    .join('\n\n');

const place = ({ subnqn, traddr, trsvcid }: Pick<ConnectedShown, 'subnqn' | 'traddr' | 'trsvcid'>): string =>
  `${subnqn}, traddr=${traddr},trsvcid=${trsvcid}`;

export function connectedText({ device, already, ...where }: ConnectedShown): string {
  return already ? `already connected: ${device} to ${place(where)}` : `connecting to device: ${device}`;
}

export interface ConnectedAll {
  readonly connected: readonly ConnectedShown[];
  readonly failed: readonly FailedShown[];
  readonly follows: boolean;
}

export function connectedAllText({ connected, failed, follows }: ConnectedAll): string {
  const lines = connected.map(({ device, already, ...where }) =>
    already ? `already connected: ${device} to ${place(where)}` : `${device} to ${place(where)}`,
  );
  for (const { why, trsvcid = '', ...where } of failed)
    lines.push(`not connected to ${place({ ...where, trsvcid })}: ${why}`);
  if (follows) lines.push('the discovery service is followed from now on');
  return lines.length === 0 ? 'there is nothing to connect to' : lines.join('\n');
}

export const portsText = ({ ports }: { readonly ports: readonly PortDescription[] }): string =>
  listing(
    ['Local', 'Remote', 'State', 'Registered', 'Active', 'Controllers'],
    ports.map((port) => [
      port.local,
      `${port.traddr} port ${port.trsvcid}`,
      port.state,
      port.registered ? 'yes' : 'no',
      String(port.activeControllers),
      port.controllers.join(', '),
    ]),
  );

/** `in 4.2 s`. */
const inText = (ms: number): string => `in ${(ms / 1000).toFixed(1)} s`;

const timerText = ({ of, name, inMs, then }: TimerDescription): string =>
  `${of === '' ? '' : `${of}: `}${name} ${inText(inMs)}: ${then}`;

/** Each path, what waits, and what happens next. */
export function whyText(why: Why): string {
  const { requeued, held, delayed } = why.waiting;
  const lines = [
    `${why.head}, ${why.state}: I/O ${why.verdict}`,
    `  iopolicy ${why.iopolicy}, write_failover ${why.writeFailover}, delayed_removal_secs ${why.delayedRemovalSecs}`,
    `  I/O under way: ${why.inFlight}; waits for a path: ${requeued}, for blocks that a lost association may still write: ${held}, for its delay: ${delayed}`,
    ...why.paths.flatMap(pathLines),
    ...why.refused.map((each) => `  ${each.controller} shows the namespace, but ${each.why}`),
    ...why.held.map(({ controller, ranges, freeInMs, why: because }) => {
      const blocks = ranges.reduce((sum, range) => sum + range.blocks, 0);
      const free = freeInMs === undefined ? 'not before its end' : inText(freeInMs);
      return `  ${blocks} blocks wait for an association of ${controller}, free ${free}: ${because}`;
    }),
  ];
  const [next] = why.timers;
  if (next !== undefined) lines.push(`  next: ${timerText(next)}`);
  return lines.join('\n');
}

function pathLines(path: WhyPath): string[] {
  const ana = path.anaState === undefined ? '' : `, ANA group ${path.anaGroup ?? ''} ${path.anaState}`;
  const lost = path.usable || path.reason === undefined ? '' : `; ${path.reason}`;
  return [
    `  ${path.name} by ${path.controller}, traddr=${path.traddr},trsvcid=${path.trsvcid}, ${path.controllerState}${ana}`,
    `    ${path.usable ? 'usable' : 'not usable'}: ${path.why}${lost}; commands under way: ${path.inFlight}`,
    ...path.timers.map((timer) => `    ${timerText(timer)}`),
  ];
}

export const eventText = ({ wall, kind, name, id, what }: JournalEntry): string =>
  `${new Date(wall).toISOString()} ${kind} ${name} #${id}: ${what}`;
