/**
 * Reads the discovery log (NVMe Base 2.1, section 5.1.12.3.1) as nvme-cli 2.13 does: the head, the records in
 * chunks, the head again; when GENCTR has moved, everything once more. Records that are refused may have gone since the
 * head was read: then GENCTR has moved, too.
 */
import { viewOf } from '../layout/struct.ts';
import { DiscoveryEntry, DiscoveryHeader } from '../nvme/discovery.ts';
import { LogId } from '../nvme/logs.ts';
import { getLogPage } from './commands.ts';
import type { Controller } from './controller.ts';
import { failure, refused, type Failure } from './failure.ts';

/** What a discovery controller says: the records as they came, 1024 bytes each. */
export interface DiscoveryLog {
  readonly genctr: number;
  readonly records: readonly Uint8Array[];
}

/** The part of the head that matters, rounded up to dwords. */
const HEAD_BYTES = 20;
/** Records in one command: 4 KiB, which every MDTS allows. */
const CHUNK = 4;

export class DiscoveryReader {
  readonly #controller: Controller;
  readonly #done: (reason: Failure | undefined, log?: DiscoveryLog) => void;
  #tries = 0;
  #genctr = 0;
  #count = 0;
  #records: Uint8Array[] = [];

  /** `done` is called once. The controller is to be live. */
  constructor(controller: Controller, done: (reason: Failure | undefined, log?: DiscoveryLog) => void) {
    this.#controller = controller;
    this.#done = done;
  }

  start(): void {
    const { discoveryTries } = this.#controller.limits;
    if (this.#tries++ >= discoveryTries) {
      this.#done(failure('EAGAIN', `the discovery log changed ${discoveryTries} times while it was read`));
      return;
    }
    this.#records = [];
    this.#head((genctr, numrec, recfmt) => {
      const { discoveryRecords } = this.#controller.limits;
      if (recfmt !== 0) this.#done(failure('EPROTO', `discovery log: RECFMT ${recfmt} is not known`));
      else if (numrec > discoveryRecords)
        this.#done(
          failure('EPROTO', `discovery log: ${numrec} records, at most ${discoveryRecords} are read`),
        );
      else {
        this.#genctr = genctr;
        this.#count = numrec;
        this.#chunk();
      }
    });
  }

  #chunk(): void {
    const left = Math.min(CHUNK, this.#count - this.#records.length);
    if (left === 0) {
      this.#check();
      return;
    }
    const { size } = DiscoveryEntry;
    const take = (bytes: Uint8Array): void => {
      for (let at = 0; at < bytes.length; at += size) this.#records.push(bytes.subarray(at, at + size));
      this.#chunk();
    };
    const at = DiscoveryHeader.size + this.#records.length * size;
    this.#read(at, left * size, take, (refusal) => this.#unlessMoved(() => this.#done(refusal)));
  }

  #check(): void {
    const log: DiscoveryLog = { genctr: this.#genctr, records: this.#records };
    if (this.#count === 0) this.#done(undefined, log);
    else this.#unlessMoved(() => this.#done(undefined, log));
  }

  /** Looks at GENCTR again: the log is as it was, or is read anew. */
  #unlessMoved(then: () => void): void {
    this.#head((genctr) => {
      if (genctr !== this.#genctr) this.start();
      else then();
    });
  }

  #head(then: (genctr: number, numrec: number, recfmt: number) => void): void {
    this.#read(0, HEAD_BYTES, (bytes) => {
      const view = viewOf(bytes);
      const { genctr, numrec, recfmt } = DiscoveryHeader;
      then(genctr.get(view, 0), numrec.get(view, 0), recfmt.get(view, 0));
    });
  }

  #read(
    offset: number,
    length: number,
    then: (bytes: Uint8Array) => void,
    failed: (why: Failure) => void = this.#done,
  ): void {
    const controller = this.#controller;
    let bytes: Uint8Array = new Uint8Array(0);
    controller.admin(
      (request) => {
        // RAE: the event of a persistent connection stays for who waits for it.
        bytes = getLogPage(request, LogId.Discovery, 0, offset, length, true);
        request.timeout = controller.limits.adminTimeout;
      },
      ({ status }) => {
        if (status === 0) then(bytes);
        else failed(controller.reason ?? refused('Get Log Page, discovery log', status));
      },
    );
  }
}
