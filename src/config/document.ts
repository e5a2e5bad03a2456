/**
 * What a target is told to be: one document, `target.json` in its state folder. Every change of an operator is an edit
 * of it (edit.ts), and what has to be done is the difference between two of them (plan.ts).
 *
 * In memory it has two marks that are never written: what is `volatile` goes with the process, and what is `dormant`
 * is known but not exported by this process.
 */

export const DOCUMENT_NAME = 'target.json';

export const BLOCK_SIZES: readonly number[] = [512, 4096];
/** Longest serial and model number, in ASCII characters. */
export const SERIAL_LENGTH = 20;
export const MODEL_LENGTH = 40;
/** Longest Firmware Revision. */
export const FIRMWARE_LENGTH = 8;
/** The most in-capsule data of an I/O command that a port may be given, and what it has to be a multiple of. */
export const MOST_INLINE_DATA = 1024 * 1024;
export const INLINE_DATA_UNIT = 16;
/** Fewer entries than this no I/O queue of Linux has. */
export const LEAST_QUEUE_SIZE = 16;
export const MOST_QUEUE_SIZE = 65_536;
/** QIDs of I/O queues go from 1 to this. */
export const LAST_QID = 65_534;
export const LAST_NSID = 0xffff_fffe;
/** CNTLIDs go from 1 to FFEFh (Base 2.1, section 3.1.1). */
export const LAST_CNTLID = 0xffef;
/** ANA groups go from 1 to this; as many as Linux' target has. */
export const ANA_GROUPS = 128;
export const LAST_PORT_ID = 0xffff;

/** Base 2.1, section 8.1.1, with the names that nvmetcli gives them. */
export const ANA_STATES = [
  'optimized',
  'non-optimized',
  'inaccessible',
  'persistent-loss',
  'change',
] as const;
export type AnaStateName = (typeof ANA_STATES)[number];

interface NamespaceCommon {
  readonly nsid: number;
  readonly uuid: string;
  /** 32 hexadecimal digits; without it the UUID's. */
  readonly nguid?: string;
  /** 16 hexadecimal digits; without it there is none. */
  readonly eui64?: string;
  readonly blockSize: number;
  readonly readOnly: boolean;
  /** ANA group. */
  readonly anagrpid: number;
  /** A namespace that exists and is not enabled has no file open; hosts see it, and their I/O waits elsewhere. */
  readonly enabled: boolean;
  /** Off: it belongs to the first host that attaches it (LIFE.4). */
  readonly shared: boolean;
  /** Host NQNs that see it; without it every host does. */
  readonly hosts?: readonly string[];
  readonly volatile?: true;
  readonly dormant?: true;
}

export interface FileEntry extends NamespaceCommon {
  /** Absolute. Where the file was last seen; what it is, `fileId` and `born` say. */
  readonly path: string;
  /** `device:inode`, or `block:major:minor`. Absent until the file has been opened once. */
  readonly fileId?: string;
  /** When the file was made, in nanoseconds since 1970: an inode number comes back, this does not. */
  readonly born?: string;
}

/** Memory of the process: the name may stay over a restart, the data does not. */
export interface MemoryEntry extends NamespaceCommon {
  /** Bytes. */
  readonly memory: number;
}

export type NamespaceEntry = FileEntry | MemoryEntry;

export interface SubsystemEntry {
  readonly nqn: string;
  readonly serial: string;
  readonly model: string;
  /** Off: one controller at a time (LIFE.14). */
  readonly shared: boolean;
  /** I/O queues that a controller may have; without it, or above that, as many as the target allows. */
  readonly ioQueues?: number;
  /** Firmware Revision; without it the version of this program. */
  readonly firmware?: string;
  /** IEEE OUI Identifier, 6 hexadecimal digits; without it none is told. */
  readonly ieeeOui?: string;
  /** Off: hosts are not told of Asymmetric Namespace Access. */
  readonly ana?: false;
  /** Host NQNs that may connect; without it every host may. */
  readonly hosts?: readonly string[];
  /** The range that CNTLIDs are taken from. */
  readonly cntlids?: readonly [number, number];
  /** In the order of their NSIDs. */
  readonly namespaces: readonly NamespaceEntry[];
}

/** State of an ANA group on one port; groups that are not listed are optimized. */
export interface AnaEntry {
  readonly grpid: number;
  readonly state: AnaStateName;
}

/** Another discovery service that hosts are sent to. */
export interface ReferralEntry {
  readonly name: string;
  /** `HOST:PORT`. */
  readonly address: string;
  /** PORTID of its entry in the discovery log. */
  readonly id: number;
}

export interface PortEntry {
  /** PORTID. */
  readonly id: number;
  /** `HOST:PORT`; port 0 takes a free one. */
  readonly address: string;
  /** Off: nobody listens there. */
  readonly enabled: boolean;
  /** NQNs of what can be connected to through it. A port without any is a discovery service. */
  readonly subsystems: readonly string[];
  readonly ana: readonly AnaEntry[];
  readonly referrals: readonly ReferralEntry[];
  /** In-capsule data of an I/O command, bytes; without it as the limits of the target say. */
  readonly inlineDataSize?: number;
  /** Entries of an I/O queue; without it, or above that, as the limits of the target say. */
  readonly maxQueueSize?: number;
  readonly volatile?: true;
  readonly dormant?: true;
  /** Every group is inaccessible here until hosts have moved to another port. Not written: a restart ends it. */
  readonly draining?: true;
}

export interface TargetDocument {
  readonly version: 2;
  /** In the order in which they were added. */
  readonly subsystems: readonly SubsystemEntry[];
  /** In the order of their ids. */
  readonly ports: readonly PortEntry[];
}

export const EMPTY: TargetDocument = { version: 2, subsystems: [], ports: [] };

export const isFile = (entry: NamespaceEntry): entry is FileEntry => 'path' in entry;

/** 32 hexadecimal digits. */
export const nguidOf = ({ nguid, uuid }: NamespaceEntry): string => nguid ?? uuid.replaceAll('-', '');

/** Without a key that may be absent. */
export function dropped<T extends object>(value: T, key: keyof T & string): T {
  return Object.fromEntries(Object.entries(value).filter(([each]) => each !== key)) as T;
}

/** Names a namespace in messages: `namespace 1 of nqn.…`. */
export const namespaceName = (nqn: string, nsid: number): string => `namespace ${nsid} of ${nqn}`;

/** What is written, in this order: whatever an edit did to the objects, the same document is the same text. */
const KEYS = (
  'version id name nqn serial model address nsid uuid nguid eui64 path fileId born memory blockSize readOnly ' +
  'anagrpid enabled shared ioQueues firmware ieeeOui hosts cntlids namespaces subsystems ports grpid state ana referrals inlineDataSize maxQueueSize'
).split(' ');

/** What is written: nothing that goes with the process, with the line ends and indentation of a file that people read. */
export function formatDocument({ version, subsystems, ports }: TargetDocument): string {
  const kept: TargetDocument = {
    version,
    subsystems: subsystems.map((subsystem) => ({
      ...subsystem,
      namespaces: subsystem.namespaces.filter((entry) => !entry.volatile),
    })),
    ports: ports.filter((port) => !port.volatile),
  };
  return `${JSON.stringify(kept, KEYS, 2)}\n`;
}
