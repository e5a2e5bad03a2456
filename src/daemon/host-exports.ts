/**
 * Every head as an NBD export on a socket of its own, for as long as it is there: `nvme0n1.sock` in one folder. Names are
 * given out anew at each start; beside the sockets, in `by-id`, are links whose names say which disk it is, as Linux has
 * them in /dev/disk/by-id: `nvme-uuid.….sock`.
 */
import { join } from 'node:path';
import { refusal } from '../api/answer.ts';
import { NvmeError } from '../api/error.ts';
import { NvmeNbd } from '../api/nbd.ts';
import type { Head } from '../initiator/head.ts';
import type { Registry } from '../initiator/registry.ts';
import { makeFolder } from '../runtime/node/folder.ts';
import type { Env } from '../runtime/ports.ts';
import { IdLinks } from './id-links.ts';

export class HostExports {
  readonly #env: Env;
  readonly #registry: Registry;
  readonly #folder: string;
  readonly #links: IdLinks;
  readonly #served = new Map<Head, NvmeNbd>();
  /** Until the socket of that path is gone: the next head of the name waits for it. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #unwatch: () => void;
  #stopping = false;

  /** Makes the folder; throws an NvmeError when it cannot. */
  constructor(env: Env, registry: Registry, folder: string) {
    try {
      makeFolder(folder);
      this.#links = new IdLinks(join(folder, 'by-id'));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw refusal('EACCES', `the folder for NBD sockets cannot be used: ${message}`, error);
    }
    this.#env = env;
    this.#registry = registry;
    this.#folder = folder;
    this.#unwatch = registry.journal.listen(({ kind }) => {
      // Not inside the call that told.
      if (kind === 'head added') env.clock.defer(() => this.#look());
    });
    this.#look();
  }

  /** The path of its socket; undefined: it has none. */
  socket(head: Head): string | undefined {
    return this.#served.get(head)?.path;
  }

  /** The path of the link to it; undefined: there is none. */
  link(head: Head): string | undefined {
    return this.#links.path(head);
  }

  #look(): void {
    if (this.#stopping) return;
    for (const { heads } of this.#registry.subsystems)
      for (const head of heads) if (!this.#served.has(head)) this.#serve(head);
  }

  #serve(head: Head): void {
    const nbd = new NvmeNbd(this.#env, { path: join(this.#folder, `${head.name}.sock`) });
    const { path } = nbd;
    const before = this.#leaving.get(path);
    this.#served.set(head, nbd);
    nbd.add(head);
    const over = nbd.ended.then(() => {
      this.#served.delete(head);
      this.#links.remove(head);
      if (this.#leaving.get(path) === over) this.#leaving.delete(path);
    });
    this.#leaving.set(path, over);
    void this.#listen(nbd, head, before);
  }

  async #listen(nbd: NvmeNbd, head: Head, before: Promise<void> | undefined): Promise<void> {
    try {
      await before;
      if (this.#stopping || head.gone) return;
      await nbd.listen();
      // It may be over already: its last client and its head can go meanwhile.
      if (this.#served.get(head) === nbd) this.#links.add(head, nbd.path);
      this.#env.trace.event('info', 'NBD export', { head: head.name, socket: nbd.path });
    } catch (error) {
      if (!(error instanceof NvmeError)) throw error;
      this.#env.trace.event('error', 'no NBD export', { head: head.name, why: error.message });
      await nbd.close({ patience: 0 });
    }
  }

  /** Clients are answered what is under way for so many milliseconds, then they are disconnected (PORT.11). */
  async close(patience: number): Promise<void> {
    this.#stopping = true;
    this.#unwatch();
    await Promise.all([...this.#served.values()].map((nbd) => nbd.close({ patience })));
  }
}
