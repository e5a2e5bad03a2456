import { test } from 'tap';
import { Durability } from '../../scripts/interop/durability.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import type { FileIo, FileSystem } from '../../src/runtime/ports.ts';

/** A file that answers at once, behind the watcher. */
function watched(): { durability: Durability; file: FileIo } {
  const durability = new Durability(512);
  const real = {
    size: 65_536,
    write: (_offset: number, _parts: unknown, done: () => void) => done(),
    writeNow: (offset: number) => (offset === 0 ? 'later' : undefined),
    sync: (done: () => void) => done(),
  } as unknown as FileIo;
  const files = durability.files({
    open: (_path, _options, done) => done(undefined, real),
    memory: () => real,
  } satisfies FileSystem);
  let file: FileIo | undefined;
  files.open('', { readOnly: false }, (_error, opened) => (file = opened));
  if (file === undefined) throw new Error('not opened');
  return { durability, file };
}

const block = [new Uint8Array(512)];
const ignore = (): void => undefined;
const command = (opcode: number, slba: number, note: number, fua = false) => ({
  opcode,
  slba,
  blocks: 1,
  fua,
  note,
});

void test('a write with FUA that is answered before a sync is found', (t) => {
  const { durability, file } = watched();
  t.equal(file.size, 65_536, 'the rest of the file is as it was');
  const note = durability.command();
  file.write(512, block, ignore);
  durability.response(command(IoOpcode.Write, 0, note, true), 0);
  t.same(durability.violations, [], 'another block is nobody’s business');
  durability.response(command(IoOpcode.Write, 1, note), 0);
  t.same(durability.violations, [], 'without FUA nothing is promised');
  durability.response(command(IoOpcode.Write, 1, note, true), 0x06);
  t.same(durability.violations, [], 'nor by an error');
  durability.response(command(IoOpcode.Write, 1, note, true), 0);
  t.equal(durability.violations.length, 1);
  file.sync(ignore);
  durability.response(command(IoOpcode.Write, 1, note, true), 0);
  t.equal(durability.violations.length, 1, 'after the sync all is well');
  t.end();
});

void test('a write that is over when it returns is seen, one that is put off is not', (t) => {
  const { durability, file } = watched();
  file.writeNow(0, block);
  durability.response(command(IoOpcode.Flush, 0, durability.command()), 0);
  t.same(durability.violations, []);
  file.writeNow(512, block);
  durability.response(command(IoOpcode.Flush, 0, durability.command()), 0);
  t.equal(durability.violations.length, 1);
  t.end();
});

void test('a Flush promises what was written before it came, and nothing else', (t) => {
  const { durability, file } = watched();
  file.write(0, block, ignore);
  const note = durability.command();
  durability.response(command(IoOpcode.Flush, 0, note), 0);
  t.equal(durability.violations.length, 1);
  file.sync(ignore);
  file.write(0, block, ignore);
  durability.response(command(IoOpcode.Flush, 0, note), 0);
  t.equal(durability.violations.length, 1, 'what was written later may be volatile');
  t.end();
});
