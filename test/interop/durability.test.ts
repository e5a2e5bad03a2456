import { test } from 'tap';
import { Durability } from '../../scripts/interop/durability.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import type { FileIo, FileSystem, IoError } from '../../src/runtime/ports.ts';

/** A file that answers at once, behind the watcher. */
function watched(): { durability: Durability; file: FileIo } {
  const durability = new Durability(512, (nsid) => `namespace-${nsid}`);
  const real = {
    size: 65_536,
    write: (_offset: number, _parts: unknown, done: () => void) => done(),
    writeNow: (offset: number) => (offset === 0 ? 'later' : undefined),
    sync: (done: () => void) => done(),
    punch: (_offset: number, _length: number, done: () => void) => done(),
    zero: (offset: number, _length: number, done: (error?: IoError) => void) =>
      done(offset === 0 ? { code: 'ENOTSUP', message: 'cannot be done' } : undefined),
    copy: (_from: number, _to: number, _length: number, done: () => void) => done(),
  } as unknown as FileIo;
  const files = durability.files({
    open: (_path, _options, done) => done(undefined, real),
    memory: () => real,
  } satisfies FileSystem);
  let file: FileIo | undefined;
  files.open('namespace-1', { readOnly: false }, (_error, opened) => (file = opened));
  if (file === undefined) throw new Error('not opened');
  return { durability, file };
}

const block = [new Uint8Array(512)];
const ignore = (): void => undefined;
const command = (opcode: number, slba: number, note: number, fua = false, nsid = 1) => ({
  opcode,
  nsid,
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

void test('Write Zeroes, Deallocate and Copy count as writes; what the file cannot do does not', (t) => {
  for (const [opcode, act] of [
    [IoOpcode.WriteZeroes, (file: FileIo) => file.zero(512, 512, ignore)],
    [IoOpcode.WriteZeroes, (file: FileIo) => file.punch(512, 512, ignore)],
    [IoOpcode.Copy, (file: FileIo) => file.copy(1024, 512, 512, ignore)],
  ] as const) {
    const { durability, file } = watched();
    act(file);
    durability.response(command(opcode, 2, durability.command(), true), 0);
    t.same(durability.violations, [], 'another block');
    durability.response(command(opcode, 1, durability.command(), true), 0);
    t.equal(durability.violations.length, 1, 'FUA');
    durability.response(command(IoOpcode.Flush, 0, durability.command()), 0);
    t.equal(durability.violations.length, 2, 'Flush');
    file.sync(ignore);
    durability.response(command(opcode, 1, durability.command(), true), 0);
    durability.response(command(IoOpcode.Flush, 0, durability.command()), 0);
    t.equal(durability.violations.length, 2, 'after a sync all is well');
  }
  const { durability, file } = watched();
  file.zero(0, 512, ignore);
  durability.response(command(IoOpcode.WriteZeroes, 0, durability.command(), true), 0);
  t.same(durability.violations, []);
  t.end();
});

void test('a Read with FUA looks at nothing that was not synced before it came', (t) => {
  const { durability, file } = watched();
  const early = durability.command();
  file.write(512, block, ignore);
  durability.response(command(IoOpcode.Read, 1, early, true), 0);
  t.same(durability.violations, [], 'what is written meanwhile may be there or not');
  durability.response(command(IoOpcode.Read, 1, durability.command()), 0);
  t.same(durability.violations, [], 'without FUA nothing is promised');
  durability.response(command(IoOpcode.Read, 1, durability.command(), true), 0);
  t.equal(durability.violations.length, 1);
  t.end();
});

void test('each namespace has a file of its own', (t) => {
  const { durability, file } = watched();
  file.write(0, block, ignore);
  const flush = (nsid: number) => command(IoOpcode.Flush, 0, durability.command(), false, nsid);
  durability.response(flush(2), 0);
  t.same(durability.violations, [], 'what another one was written is nobody’s business');
  durability.response(flush(1), 0);
  t.equal(durability.violations.length, 1);
  t.end();
});
