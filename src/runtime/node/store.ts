import * as fs from 'node:fs/promises';
import type { IoDone, IoError, StateStore } from '../ports.ts';
import { IoFailure, ioError } from './errors.ts';
import { closeSync, openSync, statSync } from 'node:fs';
import { Lock } from './lock.ts';
import type { Syscalls } from './syscalls.ts';
import { assert } from '../assert.ts';
import { join } from 'node:path';
import { makeFolder } from './folder.ts';
import { syncFolder } from './files.ts';

/** The state folder: one file per document, readable by its owner alone. */
export class NodeStore implements StateStore {
  readonly folder: string;
  readonly #syscalls: Syscalls | undefined;
  #lock: { readonly names: Lock; readonly fd: number } | undefined = undefined;
  /** Writes go one after the other, so that the last one asked for is the one that stays. */
  #last: Promise<void> = Promise.resolve();

  /** Makes the folder, with mode 0700, unless there is one; throws an IoFailure when it cannot. */
  constructor(folder: string, syscalls: Syscalls | undefined) {
    this.folder = folder;
    this.#syscalls = syscalls;
    makeFolder(folder);
  }

  /** Makes this process the only one that uses the folder (DISK.5); EBUSY when another one does. */
  lock(done: IoDone): void {
    const { dev, ino } = statSync(this.folder, { bigint: true });
    Lock.take(`folder:${dev}:${ino}`, false, (error, names) => {
      if (!names) {
        done({ code: error?.code ?? 'EBUSY', message: `${this.folder}: ${error?.message ?? ''}` });
        return;
      }
      const fd = openSync(this.folder, 'r');
      const refused = this.#syscalls?.lock(fd, false);
      if (!refused) {
        this.#lock = { names, fd };
        done(undefined);
        return;
      }
      closeSync(fd);
      names.release(() => done({ code: 'EBUSY', message: `${this.folder}: in use by another process` }));
    });
  }

  unlock(done: () => void): void {
    const lock = this.#lock;
    this.#lock = undefined;
    if (!lock) {
      done();
      return;
    }
    closeSync(lock.fd);
    lock.names.release(done);
  }

  read(name: string, done: (error: IoError | undefined, text: string | undefined) => void): void {
    fs.readFile(this.#path(name), 'utf8').then(
      (text) => done(undefined, text),
      (thrown: unknown) => {
        const error = ioError(thrown);
        done(error.code === 'ENOENT' ? undefined : error, undefined);
      },
    );
  }

  /** After `done` either the old text or the new one is there, whole, whatever happens to the machine. */
  write(name: string, text: string, done: IoDone): void {
    const path = this.#path(name);
    this.#inTurn(() => this.#replace(path, text), done);
  }

  remove(name: string, done: IoDone): void {
    const path = this.#path(name);
    this.#inTurn(async () => {
      await fs.rm(path, { force: true });
      await syncFolder(this.folder);
    }, done);
  }

  #inTurn(change: () => Promise<void>, done: IoDone): void {
    const made = this.#last.then(change);
    this.#last = made.catch(() => undefined);
    made.then(
      () => done(undefined),
      (error: unknown) => done(ioError(error)),
    );
  }

  async #replace(path: string, text: string): Promise<void> {
    const fresh = `${path}.new`;
    try {
      const file = await fs.open(fresh, 'w', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await fs.rename(fresh, path);
      await syncFolder(this.folder);
    } catch (error) {
      await fs.rm(fresh, { force: true });
      throw new IoFailure(ioError(error).code, `${path}: ${ioError(error).message}`);
    }
  }

  #path(name: string): string {
    assert(
      /^[A-Za-z0-9][\w.-]*$/.test(name) && !name.endsWith('.new'),
      `${name} is not the name of a document`,
    );
    return join(this.folder, name);
  }
}
