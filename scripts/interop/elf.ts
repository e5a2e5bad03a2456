/** The shared libraries that an x86-64 ELF file names (DT_NEEDED). */
import { readFileSync } from 'node:fs';

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NEEDED = 1;
const DT_STRTAB = 5;

/** None for a file that is no ELF file or is linked statically. */
export function neededLibraries(path: string): string[] {
  const bytes = readFileSync(path);
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2) return [];
  const number = (at: number): number => Number(bytes.readBigUInt64LE(at));
  const headers = Array.from({ length: bytes.readUInt16LE(56) }, (_, i) => {
    const at = number(32) + i * bytes.readUInt16LE(54);
    const [offset, address, size] = [number(at + 8), number(at + 16), number(at + 32)];
    return { type: bytes.readUInt32LE(at), offset, address, size };
  });
  const dynamic = headers.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) return [];
  const names: number[] = [];
  let table = 0;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    if (number(at) === DT_NEEDED) names.push(number(at + 8));
    if (number(at) === DT_STRTAB) table = number(at + 8);
  }
  const home = headers.find(
    ({ type, address, size }) => type === PT_LOAD && table >= address && table < address + size,
  );
  if (home === undefined) return [];
  const strings = table - home.address + home.offset;
  return names.map((name) => bytes.toString('latin1', strings + name, bytes.indexOf(0, strings + name)));
}
