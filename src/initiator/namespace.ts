/** What a controller told about one namespace, checked: plain data, made anew by every scan. */
import { hex } from '../layout/field.ts';
import { viewOf } from '../layout/struct.ts';
import { Csi } from '../nvme/identify.ts';
import type { NamespaceIds } from '../nvme/identify-lists.ts';
import { IdNamespace, formatIndex } from '../nvme/identify-namespace.ts';

export interface NamespaceInfo {
  readonly nsid: number;
  /** Lower-case text, as people write them; undefined: not reported. */
  readonly uuid: string | undefined;
  readonly nguid: string | undefined;
  readonly eui64: string | undefined;
  readonly csi: number;
  /** More than one controller may have it (NMIC). */
  readonly shared: boolean;
  /** Bytes. */
  readonly blockSize: number;
  readonly blocks: number;
  /** NUSE: blocks that are in use, as of the last look; of a namespace that is not thin, all of them. */
  readonly used: number;
  readonly anagrpid: number;
  readonly readOnly: boolean;
}

/** Smallest and largest LBA size that is used, as powers of two: 512 bytes and 64 KiB. */
const LBADS = { min: 9, max: 16 } as const;

const reported = (bytes: Uint8Array): string | undefined =>
  bytes.every((byte) => byte === 0) ? undefined : hex(bytes);

/** The namespace, or why it cannot be used. `identified` is the answer to Identify CNS 00h. */
export function namespaceInfo(
  nsid: number,
  identified: Uint8Array,
  ids: NamespaceIds,
): NamespaceInfo | string {
  const id = IdNamespace.decode(viewOf(identified));
  const csi = ids.csi ?? Csi.Nvm;
  if (csi !== Csi.Nvm) return `its command set (CSI ${csi}) is not supported`;
  if (id.nsze === 0) return 'it is not active';
  if (typeof id.nsze !== 'number') return `its size (${id.nsze} blocks) is past 2^53`;
  const format = id.lbaf[formatIndex(id.flbas, id.nlbaf)];
  if (format === undefined) return 'its LBA format does not exist';
  if (format.lbads < LBADS.min || format.lbads > LBADS.max)
    return `its block size, 2^${format.lbads} bytes, is not supported`;
  if (format.ms !== 0) return `its format has metadata (${format.ms} bytes a block), which is not supported`;
  const blockSize = 2 ** format.lbads;
  if (!Number.isSafeInteger(id.nsze * blockSize)) return `its size (${id.nsze} blocks) is past 2^53 bytes`;
  return {
    nsid,
    uuid: ids.uuid,
    nguid: ids.nguid === undefined ? reported(id.nguid) : hex(ids.nguid),
    eui64: ids.eui64 === undefined ? reported(id.eui64) : hex(ids.eui64),
    csi,
    shared: id.nmic.shared === 1,
    blockSize,
    blocks: id.nsze,
    used: Math.min(Number(id.nuse), id.nsze),
    anagrpid: id.anagrpid,
    readOnly: id.nsattr.writeProtected === 1,
  };
}

/** Whether two controllers, or two scans, talk of the same namespace. */
export const sameIdentity = (a: NamespaceInfo, b: NamespaceInfo): boolean =>
  a.nsid === b.nsid && a.uuid === b.uuid && a.nguid === b.nguid && a.eui64 === b.eui64 && a.csi === b.csi;

/** A name for the world: UUID > NGUID > EUI-64, else what the subsystem calls it. */
export function wwid(info: NamespaceInfo, subsystem: { vid: number; serial: string; model: string }): string {
  if (info.uuid !== undefined) return `uuid.${info.uuid}`;
  if (info.nguid !== undefined) return `eui.${info.nguid}`;
  if (info.eui64 !== undefined) return `eui.${info.eui64}`;
  const text = (value: string): string =>
    Array.from(value, (c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join('');
  const vid = subsystem.vid.toString(16).padStart(4, '0');
  return `nvme.${vid}-${text(subsystem.serial)}-${text(subsystem.model)}-${info.nsid.toString(16).padStart(8, '0')}`;
}
