/**
 * What the target answers, asked of the target itself: every opcode, log page, feature and CNS value that has a name
 * here, on an I/O controller and on a discovery controller. `npm run docs` writes docs/commands.md; a test compares.
 */
import { inTransport, type WireHost } from '../doubles/wire-host.ts';
import { NQN, TargetWorld } from '../doubles/target-world.ts';
import { FEATURES } from '../../src/target/features.ts';
import { FeatureId, featureName } from '../../src/nvme/features.ts';
import { Cns, cnsName } from '../../src/nvme/identify.ts';
import { LogId, logName } from '../../src/nvme/logs.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { AdminOpcode, FABRICS_OPCODE, FabricsType, IoOpcode, commandName } from '../../src/nvme/opcode.ts';
import { GetFeatures, GetLogPage, Identify, Sqe } from '../../src/nvme/sqe.ts';
import { FabricsSqe } from '../../src/nvme/fabrics.ts';
import { DNR, Status, statusName } from '../../src/nvme/status.ts';

const digits = (code: number): string => `${code.toString(16).toUpperCase().padStart(2, '0')}h`;

/** Hosts with fresh controllers; each question gets its own, as some answers end something. */
interface Asker {
  admin(sqe: Uint8Array): { status: number; dw0: number } | undefined;
  io(sqe: Uint8Array): { status: number; dw0: number } | undefined;
}

function asker(nqn: string): Asker {
  const ask = (host: WireHost, sqe: Uint8Array): { status: number; dw0: number } | undefined => {
    const cid = host.command(sqe);
    // Data without a response would be SUCCESS; these hosts have flow control, so there always is one.
    return host.completion(cid);
  };
  const world = (): TargetWorld => new TargetWorld();
  return {
    admin(sqe) {
      const host = world().open();
      host.up(nqn);
      return ask(host, sqe);
    },
    io(sqe) {
      return ask(world().up().io, sqe);
    },
  };
}

/** `yes`, or the status that says no. */
function answer(given: { status: number } | undefined, no: readonly number[]): string {
  const status = given?.status ?? 0;
  return no.includes(status & ~DNR) ? statusName(status) : 'yes';
}

/** Aligned as prettier does it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((name, i) => Math.max(3, name.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

const codes = (named: Record<string, number>): number[] =>
  [...new Set(Object.values(named))].sort((a, b) => a - b);

function fabrics(io: Asker): string {
  const rows = codes(FabricsType).map((fctype) => {
    const sqe = FabricsSqe.bytes({ opc: FABRICS_OPCODE, fctype });
    return [
      digits(fctype),
      commandName(true, FABRICS_OPCODE, fctype),
      answer(io.admin(sqe), [Status.InvalidOpcode, Status.InvalidQueueType]),
      answer(io.io(sqe), [Status.InvalidOpcode, Status.InvalidQueueType]),
    ];
  });
  return table(['FCTYPE', 'Command', 'Admin queue', 'I/O queue'], rows);
}

function admin(io: Asker, discovery: Asker): string {
  const rows = codes(AdminOpcode).map((opc) => [
    digits(opc),
    commandName(true, opc),
    ...[io, discovery].map((asked) => answer(asked.admin(Sqe.bytes({ opc })), [Status.InvalidOpcode])),
  ]);
  return table(['Opcode', 'Command', 'I/O controller', 'Discovery controller'], rows);
}

function commands(io: Asker): string {
  const rows = codes(IoOpcode).map((opc) => [
    digits(opc),
    commandName(false, opc),
    answer(io.io(Sqe.bytes({ opc, nsid: 1 })), [Status.InvalidOpcode]),
  ]);
  return table(['Opcode', 'Command', 'I/O controller'], rows);
}

function logs(io: Asker, discovery: Asker): string {
  const rows = codes(LogId).map((lid) => [
    digits(lid),
    logName(lid),
    ...[io, discovery].map((asked) =>
      answer(
        asked.admin(GetLogPage.bytes({ opc: AdminOpcode.GetLogPage, lid, numdl: 3, dptr: inTransport(16) })),
        [Status.InvalidLogPage],
      ),
    ),
  ]);
  return table(['LID', 'Log page', 'I/O controller', 'Discovery controller'], rows);
}

function features(io: Asker, discovery: Asker): string {
  const rows = codes(FeatureId).map((fid) => {
    const perNamespace = FEATURES.get(fid)?.perNamespace === true;
    const ask = (asked: Asker, sel: number): { status: number; dw0: number } | undefined =>
      asked.admin(
        GetFeatures.bytes({
          opc: AdminOpcode.GetFeatures,
          fid,
          sel: { sel },
          nsid: perNamespace ? 1 : 0,
          cdw11: fid === FeatureId.HostIdentifier ? 1 : 0,
          dptr: inTransport(4096),
        }),
      );
    const capabilities = ask(io, 3);
    const has = capabilities?.status === 0;
    return [
      digits(fid),
      featureName(fid),
      answer(capabilities, [Status.InvalidField]),
      answer(ask(discovery, 3), [Status.InvalidField]),
      has ? (perNamespace ? 'namespace' : 'controller') : '',
      has ? ((FEATURES.get(fid)?.gives ?? 0) > 0 ? 'data' : digits(ask(io, 1)!.dw0)) : '',
    ];
  });
  return table(['FID', 'Feature', 'I/O controller', 'Discovery controller', 'Of a', 'Default'], rows);
}

function identify(io: Asker, discovery: Asker): string {
  const rows = codes(Cns).map((cns) => [
    digits(cns),
    cnsName(cns),
    ...[io, discovery].map((asked) =>
      answer(
        asked.admin(
          Identify.bytes({
            opc: AdminOpcode.Identify,
            cns,
            nsid: namesOne(cns) ? 1 : 0,
            dptr: inTransport(4096),
          }),
        ),
        [Status.InvalidField],
      ),
    ),
  ]);
  return table(['CNS', 'Structure', 'I/O controller', 'Discovery controller'], rows);
}

/** Lists begin after the NSID that is named. */
const namesOne = (cns: number): boolean =>
  !([Cns.ActiveNamespaces, Cns.CsActiveNamespaces, Cns.AllocatedNamespaces] as number[]).includes(cns);

/** The text of docs/commands.md. */
export function commandsDocument(): string {
  const io = asker(NQN);
  const discovery = asker(DISCOVERY_NQN);
  return `# What the target answers

Written by \`npm run docs\`, which asks the target itself; a test compares. "yes" is supported, everything else is the
status that a host gets. What has no row here is answered as others that are not supported: Invalid Command Opcode,
Invalid Log Page, or Invalid Field for features and CNS values, all with DNR.

## Fabrics commands

${fabrics(io)}

## Admin commands

${admin(io, discovery)}

## I/O commands

${commands(io)}

The only fused operation is Compare and Write. Flush of NSID FFFFFFFFh is refused with Invalid Namespace or Format. Copy
takes descriptor format 0h.

## Log pages

${logs(io, discovery)}

## Features

Nothing is saveable: SV is refused, and the saved value is the default one. Set Features of Host Identifier is refused
with Command Sequence Error, as fabrics hosts tell it in Connect.

${features(io, discovery)}

## Identify

${identify(io, discovery)}
`;
}
