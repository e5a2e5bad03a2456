/** Every head as an NBD export on a socket of its own, for as long as it is there: `nvme0n1.sock` in one folder. */
import { join } from 'node:path';
import { refusal } from '../api/answer.ts';
import { NvmeError } from '../api/error.ts';
import { NvmeNbd } from '../api/nbd.ts';
import type { Head } from '../initiator/head.ts';
import type { Registry } from '../initiator/registry.ts';
import { makeFolder } from '../runtime/node/folder.ts';
import type { Env } from '../runtime/ports.ts';

export class HostExports {
  readonly #env: Env;
  readonly #registry: Registry;
  readonly #folder: string;
  readonly #served = new Map<Head, NvmeNbd>();
  /** Until the socket of that path is gone: the next head of the name waits for it. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #unwatch: () => void;
  #stopping = false;

  /** Makes the folder; throws an NvmeError when it cannot. */
  constructor(env: Env, registry: Registry, folder: string) {
    try {
      makeFolder(folder);
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
