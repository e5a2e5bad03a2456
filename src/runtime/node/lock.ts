/**
 * Locks on what somebody else must not use at the same time: backing files, the state folder (DISK.5). They go when
 * the process ends, in whatever way; nothing has to be cleaned up, and no stale lock keeps a restart from starting.
 *
 * - In this process: a table of ids.
 * - Against other processes: Unix sockets with abstract names made from the id. The kernel gives a name to one process
 *   only and takes it back with the process. (A lock *file* would outlive a crash, and Node has no flock.) A file has
 *   a few names; a writer takes all of them, a reader one, in a fixed order, so of two that race one wins.
 * - `flock` as well, where there is FFI (files.ts): it reaches across network namespaces (containers), which abstract
 *   names do not, and it cannot be held by somebody who has no access to the file.
 */
import type { IoDone, IoError } from '../ports.ts';
import { createServer, type Server } from 'node:net';
import { ioError } from './errors.ts';

/** Names per lock: as many processes may read at the same time. */
const NAMES = 4;

interface Held {
  readonly shared: boolean;
  users: number;
}

/** What this process holds. One table, whatever the number of environments: the process is what the lock is about. */
const held = new Map<string, Held>();

export class Lock {
  readonly #id: string;
  readonly #servers: Server[] = [];

  private constructor(id: string) {
    this.#id = id;
  }

  /** `id` names the thing, for every process the same. EBUSY: this process or another one has it. */
  static take(id: string, shared: boolean, done: (error: IoError | undefined, lock?: Lock) => void): void {
    const mine = held.get(id);
    if (mine && !(mine.shared && shared)) {
      setImmediate(() => done({ code: 'EBUSY', message: 'in use by this process already' }));
      return;
    }
    if (mine) mine.users++;
    else held.set(id, { shared, users: 1 });

    const lock = new Lock(id);
    lock.#bind(0, shared, (error) => {
      if (!error) {
        done(undefined, lock);
        return;
      }
      lock.release(() => done(error));
    });
  }

  release(done: () => void): void {
    const mine = held.get(this.#id);
    if (mine && --mine.users === 0) held.delete(this.#id);
    let open = this.#servers.length;
    if (open === 0) {
      done();
      return;
    }
    const closed = (): void => {
      if (--open === 0) done();
    };
    for (const server of this.#servers.splice(0)) server.close(closed);
  }

  #bind(name: number, shared: boolean, done: IoDone): void {
    // Abstract names are Linux'; elsewhere the table and flock must do.
    if (process.platform !== 'linux') {
      done(undefined);
      return;
    }
    const server = createServer((socket) => socket.destroy());
    server.once('error', (thrown) => {
      const error = ioError(thrown);
      if (error.code !== 'EADDRINUSE') {
        done(error);
        return;
      }
      if (shared && name + 1 < NAMES) {
        this.#bind(name + 1, shared, done);
        return;
      }
      done({ code: 'EBUSY', message: 'in use by another process' });
    });
    server.listen({ path: `\0nvme-tcp/lock/${this.#id}/${name}` }, () => {
      // A lock does not keep the process alive.
      server.unref();
      this.#servers.push(server);
      if (shared || name + 1 === NAMES) done(undefined);
      else this.#bind(name + 1, shared, done);
    });
  }
}
