/** Links to the sockets of disks by names that stay the same, in a folder of their own: `nvme-<wwid>.sock`. */
import * as fs from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import type { Head } from '../initiator/head.ts';
import { makeFolder } from '../runtime/node/folder.ts';

const NAME = /^nvme-.*\.sock$/;

export class IdLinks {
  readonly #folder: string;
  readonly #links = new Map<Head, string>();

  /**
   * Makes the folder, and takes away what an earlier daemon left: its names stand for other disks now. Throws what the
   * system says.
   */
  constructor(folder: string) {
    this.#folder = folder;
    makeFolder(folder);
    for (const entry of fs.readdirSync(folder, { withFileTypes: true }))
      if (entry.isSymbolicLink() && NAME.test(entry.name))
        fs.rmSync(join(folder, entry.name), { force: true });
  }

  path(head: Head): string | undefined {
    return this.#links.get(head);
  }

  /** Two heads of one name cannot be there at a time; the later one has it. */
  add(head: Head, socket: string): void {
    const path = join(this.#folder, `nvme-${head.wwid}.sock`);
    const fresh = `${path}.new`;
    try {
      fs.rmSync(fresh, { force: true });
      fs.symlinkSync(join(relative(this.#folder, dirname(socket)), basename(socket)), fresh);
      fs.renameSync(fresh, path);
    } catch {
      // The disk is served under its own name all the same.
      return;
    }
    for (const [other, taken] of this.#links) if (taken === path) this.#links.delete(other);
    this.#links.set(head, path);
  }

  remove(head: Head): void {
    const path = this.#links.get(head);
    if (path === undefined) return;
    this.#links.delete(head);
    fs.rmSync(path, { force: true });
  }
}
