/**
 * The ports: everything that the core may ask of the world outside. One `Env` is the first constructor parameter of
 * every object that needs one. `runtime/node` is the real world, `runtime/memory` a small one for tests, and the
 * simulator brings its own. Nothing here returns a promise: an effect is asked for by a call and answered by a call,
 * so one event is one synchronous call tree and a replay is exact.
 */

export interface Env {
  readonly clock: Clock;
  readonly random: Random;
  readonly net: Net;
  readonly interfaces: Interfaces;
  readonly files: FileSystem;
  readonly store: StateStore;
  readonly crypto: Crypto;
  readonly trace: Trace;
}

/** A running timer. It fires once; cancelling one that fired does nothing. */
export interface Timer {
  readonly name: string;
  /** In `Clock.now()` milliseconds. */
  readonly due: number;
  cancel(): void;
}

export interface Clock {
  /** Milliseconds, monotonic, from an arbitrary start; may have a fraction. */
  now(): number;
  /** Milliseconds since 1970-01-01 UTC; may jump. */
  wall(): number;
  /**
   * Every wait has a name that a user can be shown. `ms` up to 2^31 - 1. `holds`: the program does not end before;
   * default true.
   */
  timer(name: string, ms: number, fire: () => void, holds?: boolean): Timer;
  /** Runs `fn` once after what is happening now, in the same event-loop turn where possible: "flush what this turn made". */
  defer(fn: () => void): void;
}

export interface Random {
  bytes(count: number): Uint8Array;
}

/** `host` is an IP address or a name; IPv6 without brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What happens on a connection. After `closed` nothing follows. */
export interface TransportEvents {
  /** The chunk is the receiver's to keep (but see `keeps` and `chunksAreLent`); slices of it may live on. */
  data(chunk: Uint8Array): void;
  /** Asked right after `data`: whether slices of that chunk live on. If not, its memory is used again. Without it they do. */
  keeps?(): boolean;
  /** The peer half-closed (FIN): no more data will come. */
  end(): void;
  /** The kernel could not read what it was given to send (EFAULT). The end follows; it comes before the write's `done`. */
  faulted?(): void;
  /** Gone, exactly once. `error`: what the system said, when it was not orderly. */
  closed(error?: string): void;
}

/** One byte stream. */
export interface Transport {
  readonly local: Address;
  readonly remote: Address;
  /** Payload is read in user space on its way out (TLS): storage must not lend mapped pages. */
  readonly readsPayload: boolean;
  /** Names the receiver of the events; called once, synchronously after the transport was handed over. */
  start(events: TransportEvents): void;
  /**
   * Sends the parts in order as one write. The array may be reused at once; the bytes belong to the transport until
   * `done`, which is called exactly once: when the kernel has them, or when they will never be sent.
   */
  write(parts: readonly Uint8Array[], done: () => void): void;
  /** Stop and go on delivering data. */
  pause(): void;
  resume(): void;
  /** Half-close (FIN) after everything written. */
  end(): void;
  /** Close without waiting; what is unsent may be lost. */
  close(): void;
  /** Close with a reset (RST): the kernel drops what is still in the send queue. */
  reset(): void;
}

export interface ConnectOptions {
  readonly to: Address;
  /** Local address and interface to come from. */
  readonly localHost?: string | undefined;
  /** A chunk that `data` gets is used again when the call is over: whoever wants to keep something of it copies it. */
  readonly chunksAreLent?: boolean | undefined;
}

export interface Listener {
  /** The real address: the port is the one chosen when 0 was asked for. */
  readonly address: Address;
  /** Stops accepting; accepted transports live on. */
  close(done: () => void): void;
}

export interface Net {
  listen(
    at: Address,
    accept: (transport: Transport) => void,
    done: (error: IoError | undefined, listener?: Listener) => void,
  ): void;
  /** `cancel` gives up an attempt that is not answered yet; `done` is then never called. */
  connect(
    options: ConnectOptions,
    done: (error: IoError | undefined, transport?: Transport) => void,
  ): { cancel(): void };
}

/** An address of this machine; `name` is its interface's, `eth0`. IPv6 without a zone. */
export interface InterfaceAddress {
  readonly name: string;
  readonly address: string;
}

/** The network interfaces of this machine. */
export interface Interfaces {
  /** Addresses of those that are up; undefined: nobody can tell. */
  list(): readonly InterfaceAddress[] | undefined;
  /** Calls `changed` after a change, a second later at most, from now on; gives a function that ends it. */
  watch(changed: () => void): () => void;
}

/**
 * Unix-domain sockets: byte streams between the programs of one machine. Daemons and tools speak through them, the
 * protocols do not, so this is no part of `Env`. Their addresses are `{ host: path, port: 0 }`.
 */
export interface LocalNet {
  /**
   * Makes the socket, for this user only (mode 0600). One that a dead process left is replaced; EADDRINUSE: somebody
   * answers on it, or it is no socket. It goes with the listener.
   */
  listen(
    path: string,
    accept: (transport: Transport) => void,
    done: (error: IoError | undefined, listener?: Listener) => void,
  ): void;
  connect(
    path: string,
    done: (error: IoError | undefined, transport?: Transport) => void,
  ): { cancel(): void };
}

/** What an operating system call said. */
export interface IoError {
  /** An errno name: ENOSPC, EIO, EADDRINUSE, … */
  readonly code: string;
  readonly message: string;
}

export type IoDone = (error: IoError | undefined) => void;

export interface OpenOptions {
  readonly readOnly: boolean;
  /** Bytes; create the file, sparse, when it does not exist, and sync its folder. Without it the file must exist. */
  readonly createSize?: number | undefined;
}

export interface FileSystem {
  /**
   * Opens a regular file or a block device, with an exclusive lock on it (a shared one when read-only). EBUSY: another
   * process, or this one, has it; EISDIR; ENOENT; ENOTSUP: neither a file nor a block device.
   */
  open(path: string, options: OpenOptions, done: (error: IoError | undefined, file?: FileIo) => void): void;
  /** A file that lives in memory, as long as somebody has it; sparse. */
  memory(size: number): FileIo;
  /**
   * What waits for the disks, in the whole system, and from where on the system begins to write it out by itself; bytes.
   * Undefined: nobody can tell.
   */
  dirty?(): { readonly bytes: number; readonly limit: number } | undefined;
}

/**
 * A file's content as memory, to be lent to sockets. It changes with the file, and a part of it may vanish under whoever
 * looks at it: nobody may but the kernel (storage/lending.ts has the rules). Offsets and lengths are bytes.
 */
export interface FileMap {
  /** All of it is in memory, always. */
  readonly pinned: boolean;
  /** What comes into memory and leaves it together, bytes. */
  readonly pageSize: number;
  /** Adds a range's bytes to `parts`, in order. False: it cannot be had, and nothing was added. */
  slice(offset: number, length: number, parts: Uint8Array[]): boolean;
  /**
   * Which pages from `offset`, a multiple of their size, are in memory: a byte for each, of which bit 0 counts; fewer
   * where the file ends. Undefined: nobody can tell. Answered later, never inside the call.
   */
  resident(offset: number, length: number, done: (pages: Uint8Array | undefined) => void): void;
  /** Nobody has a slice of it any more. */
  unmap(): void;
}

/** One open file. Offsets and lengths are bytes. Completions come later, never inside the call. */
export interface FileIo {
  /** The same for every name of one file: `device:inode`. */
  readonly id: string;
  readonly path: string;
  /** Bytes, as it was when last looked at (`open`, `refresh`). */
  readonly size: number;
  readonly readOnly: boolean;
  /** It is in memory as long as it is there (tmpfs, ramfs): nothing that is read or written waits for a disk. */
  readonly diskless: boolean;
  /** Whether `punch` is expected to work, as tried out when the file was opened. */
  readonly canPunch: boolean;
  /** Bytes read at once without waiting, or -1: use `read`. Fewer bytes than asked for: the end of the file. */
  readNow(offset: number, into: Uint8Array): number;
  /** Reads until `into` is full or the file ends. */
  read(offset: number, into: Uint8Array, done: (error: IoError | undefined, bytes: number) => void): void;
  /**
   * As `write`, but over when it returns; whoever calls it waits. `later`: it cannot be done like that, use `write`.
   */
  writeNow(offset: number, parts: readonly Uint8Array[]): IoError | 'later' | undefined;
  /** Writes all of the parts, one after the other from `offset`, or fails. Not durable before `sync`. */
  write(offset: number, parts: readonly Uint8Array[], done: IoDone): void;
  /** fdatasync: everything whose write completed before this call is on stable storage. */
  sync(done: IoDone): void;
  /** Makes a hole that reads as zeroes; the size stays. ENOTSUP: cannot be done here. */
  punch(offset: number, length: number, done: IoDone): void;
  /** Zeroes a range without giving up its space. ENOTSUP: cannot be done here; write zeroes instead. */
  zero(offset: number, length: number, done: IoDone): void;
  /**
   * Copies inside the file, between ranges that do not overlap; the system may share the space until one of them is
   * changed. Not durable before `sync`. ENOTSUP: cannot be done here; read and write instead.
   */
  copy(from: number, to: number, length: number, done: IoDone): void;
  /** Its content as memory, whatever its size; undefined: it cannot be had. It may outlive `close`. */
  map(): FileMap | undefined;
  /** Looks at the size again. */
  refresh(done: IoDone): void;
  /** Waits for nothing: call it when nothing is under way. */
  close(done: IoDone): void;
  /** Of a file without a name, in memory: the same content once more, when it is closed. Others are opened by their path. */
  reopened?(): FileIo;
}

/** Small named documents, each replaced as a whole: after `write` answers, the new text survives a power cut. */
export interface StateStore {
  read(name: string, done: (error: IoError | undefined, text: string | undefined) => void): void;
  write(name: string, text: string, done: IoDone): void;
  /** Takes a document away for good; one that does not exist is no error. */
  remove(name: string, done: IoDone): void;
}

export interface Crypto {
  /** CRC32C (Castagnoli) of `bytes`, going on from `previous` (0 to begin with). */
  crc32c(bytes: Uint8Array, previous: number): number;
}

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type TraceFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** What happened, for people and for the record. Not called on the per-command path unless `debug` is set. */
export interface Trace {
  readonly debug: boolean;
  event(level: Level, what: string, fields: TraceFields): void;
}
