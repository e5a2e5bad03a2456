/** Log pages, one row per LID: each is built whole, then cut to what the host asked for (Base 2.1, section 5.1.12). */
import {
  CommandEffects,
  CommandEffectsLog,
  FeatureEffects,
  FeatureEffectsLog,
  FirmwareSlotLog,
  LogId,
  SmartLog,
  SupportedLogs,
} from '../nvme/logs.ts';
import { GetLogPage } from '../nvme/sqe.ts';
import { viewOf } from '../layout/struct.ts';
import { VolumeCounters } from '../storage/counters.ts';
import { anaLog } from './ana.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import { discoveryLog } from './discovery.ts';
import { findFeature, FEATURES } from './features.ts';
import { Scope, type Handler } from './handler.ts';

interface LogPage {
  /** Which controllers have it; `ana`: I/O controllers of a subsystem that tells ANA states. */
  readonly on: 'io' | 'ana' | 'discovery' | 'both';
  /** LID Specific Parameter of its entry in the list of supported pages. */
  readonly parameter?: number;
  build?(controller: Controller, command: Command): Uint8Array;
  /** Instead of `build`, for what may be long: `length` bytes from `offset`, fewer at the end; undefined: it ends before. */
  piece?(controller: Controller, command: Command, offset: number, length: number): Uint8Array | undefined;
  /** Each page can be read once, whatever RAE says. */
  readonly once?: true;
  /** The host has read it, and not asked to retain the event (RAE). */
  read?(controller: Controller): void;
}

/** The tables of opcodes, given by admin.ts: it holds Get Log Page itself. */
export interface CommandTables {
  readonly admin: ReadonlyMap<number, Handler>;
  readonly io: ReadonlyMap<number, Handler>;
}

/** Bit 0 of LSP in the ANA log: groups only. */
const RGO = 1;
/** A supported page. */
const LSUPP = 1;
/**
 * Of the discovery log: extended entries, and port local ones alone, can be had. Those of other hosts cannot (ALLSUBES); a
 * host that asks for them gets its own, which DLPF says.
 */
const EXTDLPES = 1;
const PLEOS = 2;
const KELVIN = 273;
const MINUTE = 60_000;

export function logPages(tables: () => CommandTables): ReadonlyMap<number, LogPage> {
  const pages: ReadonlyMap<number, LogPage> = new Map<number, LogPage>([
    [
      LogId.SupportedPages,
      {
        on: 'both',
        build(controller) {
          const made = new Uint8Array(SupportedLogs.size);
          for (const [lid, page] of pages)
            if (has(page, controller))
              viewOf(made).setUint32(4 * lid, ((page.parameter ?? 0) << 16) | LSUPP, true);
          return made;
        },
      },
    ],
    [LogId.Error, { on: 'both', build: ({ errors }) => errors.encode() }],
    [LogId.Smart, { on: 'io', build: smart }],
    [
      LogId.FirmwareSlot,
      {
        on: 'io',
        build: ({ subsystem }) => FirmwareSlotLog.bytes({ afi: { active: 1 }, frs: [subsystem.firmware] }),
      },
    ],
    [
      LogId.ChangedNamespaces,
      {
        on: 'io',
        build: ({ changedNamespaces }) => changedNamespaces.encode(),
        read({ changedNamespaces }) {
          changedNamespaces.clear();
        },
      },
    ],
    [
      LogId.Reservation,
      {
        on: 'io',
        once: true,
        build: ({ reservationLog }) => reservationLog.encode(),
        read({ reservationLog }) {
          reservationLog.read();
        },
      },
    ],
    [LogId.CommandEffects, { on: 'io', build: () => commandEffects(tables()) }],
    [
      LogId.Ana,
      {
        on: 'ana',
        build: (controller, command) =>
          anaLog(controller, (GetLogPage.cdw10.lsp.get(command.view, 0) & RGO) !== 0),
      },
    ],
    [LogId.FeatureEffects, { on: 'io', build: featureEffects }],
    [LogId.Discovery, { on: 'discovery', parameter: EXTDLPES | PLEOS, piece: discoveryLog }],
  ]);
  return pages;
}

/** Retain Asynchronous Event: reading changes nothing. */
export const retains = (command: Command): boolean => GetLogPage.cdw10.rae.get(command.view, 0) === 1;

/** What a page says from `offset`, at most `length` bytes; undefined: it ends before. */
export function readPage(
  page: LogPage,
  controller: Controller,
  command: Command,
  offset: number,
  length: number,
): Uint8Array | undefined {
  if (page.piece) return page.piece(controller, command, offset, length);
  const log = page.build?.(controller, command) ?? new Uint8Array(0);
  return offset > log.length ? undefined : log.subarray(offset, offset + length);
}

export const has = (page: LogPage, { discovery, subsystem }: Controller): boolean =>
  page.on === 'both' ||
  (discovery ? page.on === 'discovery' : page.on === 'io' || (page.on === 'ana' && subsystem.ana));

/** Counters of all namespaces together, since the target started: true ones, although there is no flash behind them. */
function smart({ subsystem, errors }: Controller): Uint8Array {
  const sum = new VolumeCounters();
  let failed = false;
  for (const { counters, volume } of subsystem.namespaces.values()) {
    sum.add(counters);
    failed ||= volume?.failure !== undefined;
  }
  const { target } = subsystem;
  const uptime = target.env.clock.now() - target.startedAt;
  const units = (bytes: number): bigint => BigInt(Math.ceil(bytes / 512_000));
  return SmartLog.bytes({
    cw: {
      spare: 0,
      temperature: 0,
      degraded: failed ? 1 : 0,
      readOnly: failed ? 1 : 0,
      backupFailed: 0,
      persistentMemory: 0,
      indeterminatePersonality: 0,
    },
    ctemp: KELVIN,
    avsp: 100,
    dur: units(sum.bytesRead),
    duw: units(sum.bytesWritten),
    hrc: BigInt(sum.reads),
    hwc: BigInt(sum.writes),
    cbt: BigInt(Math.floor(subsystem.busy / MINUTE)),
    // The target's process is what is powered on.
    pwrc: 1n,
    poh: BigInt(Math.floor(uptime / (60 * MINUTE))),
    mdie: BigInt(sum.errors),
    neile: BigInt(errors.count),
  });
}

/** What each opcode does, from the tables that run them. */
function commandEffects({ admin, io }: CommandTables): Uint8Array {
  const made = new Uint8Array(CommandEffectsLog.size);
  const write = (at: number, handler: Handler, scope: keyof typeof Scope): void => {
    const { modifies, changesInventory } = handler;
    const effects = {
      csupp: 1,
      lbcc: modifies ? 1 : 0,
      nic: changesInventory ? 1 : 0,
      csp: Scope[handler.scope ?? scope],
    };
    made.set(CommandEffects.bytes({ effects }), at);
  };
  for (const [opcode, handler] of admin)
    write(CommandEffectsLog.acs.offset + 4 * opcode, handler, 'controller');
  for (const [opcode, handler] of io) write(CommandEffectsLog.iocs.offset + 4 * opcode, handler, 'namespace');
  return made;
}

/** What each feature changes, of those that the controller has. */
function featureEffects(controller: Controller): Uint8Array {
  const made = new Uint8Array(FeatureEffectsLog.size);
  for (const fid of FEATURES.keys()) {
    const feature = findFeature(controller, fid);
    if (feature === undefined) continue;
    const fsp = Scope[feature.perNamespace ? 'namespace' : 'controller'];
    const effects = { fsupp: 1, ncc: feature.changesNamespace ? 1 : 0, fsp };
    made.set(FeatureEffects.bytes({ effects }), 4 * fid);
  }
  return made;
}
