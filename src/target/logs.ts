/** Log pages, one row per LID: each is built whole, then cut to what the host asked for (Base 2.1, section 5.1.12). */
import {
  CommandEffectsLog,
  FeatureEffectsLog,
  FirmwareSlotLog,
  LogId,
  SmartLog,
  SupportedLogs,
} from '../nvme/logs.ts';
import { GetLogPage } from '../nvme/sqe.ts';
import { viewOf } from '../layout/struct.ts';
import { anaLog } from './ana.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import { discoveryLog } from './discovery.ts';
import { findFeature, FEATURES } from './features.ts';
import type { Handler } from './handler.ts';
import { FIRMWARE } from './identify.ts';

interface LogPage {
  /** Which controllers have it. */
  readonly on: 'io' | 'discovery' | 'both';
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
const KELVIN = 273;

export function logPages(tables: () => CommandTables): ReadonlyMap<number, LogPage> {
  const pages: ReadonlyMap<number, LogPage> = new Map<number, LogPage>([
    [
      LogId.SupportedPages,
      {
        on: 'both',
        build(controller) {
          const made = new Uint8Array(SupportedLogs.size);
          for (const [lid, page] of pages)
            if (has(page, controller)) viewOf(made).setUint32(4 * lid, 1, true);
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
        build: () => FirmwareSlotLog.bytes({ afi: { active: 1 }, frs: [FIRMWARE] }),
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
        on: 'io',
        build: (controller, command) =>
          anaLog(controller, (GetLogPage.cdw10.lsp.get(command.view, 0) & RGO) !== 0),
      },
    ],
    [
      LogId.FeatureEffects,
      {
        on: 'io',
        build(controller) {
          const made = new Uint8Array(FeatureEffectsLog.size);
          for (const fid of FEATURES.keys())
            if (findFeature(controller, fid)) viewOf(made).setUint32(4 * fid, 1, true);
          return made;
        },
      },
    ],
    [LogId.Discovery, { on: 'discovery', piece: discoveryLog }],
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

export const has = (page: LogPage, controller: Controller): boolean =>
  page.on === 'both' || page.on === (controller.discovery ? 'discovery' : 'io');

/** Counters of all namespaces together, since the target started: true ones, although there is no flash behind them. */
function smart({ subsystem, errors }: Controller): Uint8Array {
  const sum = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0, errors: 0 };
  let failed = false;
  for (const { counters, volume } of subsystem.namespaces.values()) {
    sum.reads += counters.reads;
    sum.writes += counters.writes;
    sum.bytesRead += counters.bytesRead;
    sum.bytesWritten += counters.bytesWritten;
    sum.errors += counters.errors;
    failed ||= volume?.failure !== undefined;
  }
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
    mdie: BigInt(sum.errors),
    neile: BigInt(errors.count),
  });
}

/** What each opcode does, from the tables that run them. */
function commandEffects({ admin, io }: CommandTables): Uint8Array {
  const made = new Uint8Array(CommandEffectsLog.size);
  const view = viewOf(made);
  const SUPPORTED = 1;
  const CONTENT_CHANGES = 2;
  for (const opcode of admin.keys())
    view.setUint32(CommandEffectsLog.acs.offset + 4 * opcode, SUPPORTED, true);
  for (const [opcode, handler] of io)
    view.setUint32(
      CommandEffectsLog.iocs.offset + 4 * opcode,
      SUPPORTED | (handler.modifies ? CONTENT_CHANGES : 0),
      true,
    );
  return made;
}
