import { test } from 'tap';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Archive } from '../../scripts/interop/cpio.ts';
import { neededLibraries } from '../../scripts/interop/elf.ts';
import { parseOptions } from '../../scripts/interop/options.ts';

/** Name, mode and content of each entry, read by the rules of cpio(5). */
function entries(bytes: Buffer): [name: string, mode: number, content: string][] {
  const all: [string, number, string][] = [];
  for (let at = 0; at < bytes.length;) {
    const field = (index: number): number =>
      parseInt(bytes.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16);
    if (bytes.toString('latin1', at, at + 6) !== '070701') throw new Error(`no header at ${at}`);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const data = (at + 110 + nameSize + 3) & ~3;
    all.push([
      bytes.toString('latin1', at + 110, at + 110 + nameSize - 1),
      mode,
      bytes.toString('latin1', data, data + size),
    ]);
    at = (data + size + 3) & ~3;
  }
  return all;
}

void test('an archive has its folders before its files', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'image-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const archive = new Archive();
  archive.text('usr/bin/true', '#!/bin/sh\n', 0o755);
  archive.text('usr/bin/a', 'abcde');
  archive.link('bin', 'usr/bin');
  const path = join(folder, 'initramfs');
  archive.write(path);
  t.same(entries(readFileSync(path)), [
    ['usr', 0o040755, ''],
    ['usr/bin', 0o040755, ''],
    ['usr/bin/true', 0o100755, '#!/bin/sh\n'],
    ['usr/bin/a', 0o100644, 'abcde'],
    ['bin', 0o120777, 'usr/bin'],
    ['TRAILER!!!', 0, ''],
  ]);
  t.end();
});

void test('the libraries that a program needs', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'image-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  // ELF header, two program headers (LOAD, DYNAMIC), the dynamic section, the strings.
  const bytes = Buffer.alloc(512);
  bytes.writeUInt32BE(0x7f454c46, 0);
  bytes[4] = 2;
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(2, 56);
  const program = (at: number, type: number, offset: number, address: number, size: number): void => {
    bytes.writeUInt32LE(type, at);
    bytes.writeBigUInt64LE(BigInt(offset), at + 8);
    bytes.writeBigUInt64LE(BigInt(address), at + 16);
    bytes.writeBigUInt64LE(BigInt(size), at + 32);
  };
  program(64, 1, 256, 0x1100, 256);
  program(120, 2, 176, 0, 48);
  const dynamic: readonly (readonly [bigint, bigint])[] = [
    [1n, 1n],
    [1n, 11n],
    [5n, 0x1100n],
  ];
  dynamic.forEach(([tag, value], i) => {
    bytes.writeBigUInt64LE(tag, 176 + 16 * i);
    bytes.writeBigUInt64LE(value, 184 + 16 * i);
  });
  bytes.write('\0libc.so.6\0libz.so.1\0', 256, 'latin1');
  const path = join(folder, 'program');
  writeFileSync(path, bytes);
  t.same(neededLibraries(path), ['libc.so.6', 'libz.so.1']);
  writeFileSync(path, '#!/bin/sh\n');
  t.same(neededLibraries(path), []);
  t.end();
});

void test('options', (t) => {
  t.same(
    parseOptions([]).kernels.map(({ name }) => name),
    ['6.12'],
  );
  t.same(
    parseOptions(['--full']).kernels.map(({ name }) => name),
    ['6.12', '6.1'],
  );
  t.same(
    parseOptions(['--kernel', '6.1', '--full', '--times', '3']).kernels.map(({ name }) => name),
    ['6.1'],
  );
  for (const wrong of [['--kernel', '7'], ['--times', '0'], ['--what'], ['more']])
    t.throws(() => parseOptions(wrong), { name: 'UsageError' });
  t.end();
});
