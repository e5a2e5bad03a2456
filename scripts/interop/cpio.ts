/** An initramfs: files that belong to root, as a cpio archive of the "newc" kind. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

interface Entry {
  readonly mode: number;
  /** Path of a file to copy, or the content. */
  readonly source: string | Uint8Array;
}

const FOLDER = 0o040755;
const FILE = 0o100000;
const LINK = 0o120777;

export class Archive {
  /** By path, without the leading slash; a folder comes before what is in it. */
  readonly #entries = new Map<string, Entry>();

  get paths(): string[] {
    return [...this.#entries.keys()];
  }

  folder(path: string): void {
    if (path === '.' || this.#entries.has(path)) return;
    this.folder(dirname(path));
    this.#entries.set(path, { mode: FOLDER, source: new Uint8Array(0) });
  }

  /** `source`: the path of a file, or the content. */
  file(path: string, source: string | Uint8Array, mode = 0o644): void {
    this.#add(path, { mode: FILE | mode, source });
  }

  text(path: string, text: string, mode = 0o644): void {
    this.file(path, new TextEncoder().encode(text), mode);
  }

  link(path: string, target: string): void {
    this.#add(path, { mode: LINK, source: new TextEncoder().encode(target) });
  }

  #add(path: string, entry: Entry): void {
    this.folder(dirname(path));
    this.#entries.set(path, entry);
  }

  write(to: string): void {
    const fd = openSync(to, 'w');
    try {
      let inode = 1;
      for (const [path, { mode, source }] of this.#entries) {
        const content = typeof source === 'string' ? readFileSync(source) : source;
        writeAll(fd, header(path, inode++, mode, content.length));
        writeAll(fd, content);
        writeAll(fd, new Uint8Array(padding(content.length)));
      }
      writeAll(fd, header('TRAILER!!!', 0, 0, 0));
    } finally {
      closeSync(fd);
    }
  }
}

const padding = (length: number): number => -length & 3;

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}

/** cpio(5): fourteen fields, eight hex digits each but the magic, then the name with its NUL, filled up to 4 bytes. */
function header(path: string, inode: number, mode: number, size: number): Uint8Array {
  const name = Buffer.from(path);
  const links = (mode & 0o170000) === 0o040000 ? 2 : 1;
  const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name.length + 1, 0];
  const text = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  const nul = 1 + padding(text.length + name.length + 1);
  return Buffer.concat([Buffer.from(text), name, new Uint8Array(nul)]);
}
