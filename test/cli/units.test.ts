// Parsing and counting: no processes, no disks.
import fc from 'fast-check';
import t from 'tap';
import { harmless } from '../../src/cli/print.ts';
import { covers, formatAddress, isLoopback, parseAddress, withoutCovered } from '../../src/config/address.ts';
import { formatSize, parseSize } from '../../src/config/units.ts';
import { count, fileFlag, memoryFlag, seconds } from '../../src/cli/flags.ts';
import { Histogram } from '../../src/cli/histogram.ts';
import { Pattern } from '../../src/cli/pattern.ts';
import { spelling } from '../../src/cli/spelling.ts';
import { Waiting } from '../../src/cli/waiting.ts';
import type { Why } from '../../src/initiator/why.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { must } from '../../src/runtime/assert.ts';

t.test('sizes: what people write', (t) => {
  const rows: [string, number | undefined][] = [
    ['4096', 4096],
    ['4k', 4096],
    ['4K', 4096],
    ['4 KiB', 4096],
    ['1G', 2 ** 30],
    ['1gb', 2 ** 30],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['2T', 2 ** 41],
    ['700B', 700],
    ['0', 0],
    ['', undefined],
    ['k', undefined],
    ['-1', undefined],
    ['1e3', undefined],
    ['1kk', undefined],
    ['0.3k', undefined],
    ['8P', undefined],
    ['9007199254740993', undefined],
  ];
  for (const [text, bytes] of rows) t.equal(parseSize(text), bytes, text);
  t.equal(formatSize(1.5 * 2 ** 30), '1.5 GiB');
  t.equal(formatSize(700), '700 B');
  t.equal(formatSize(2 ** 30 + 1, 1), '1 GiB');
  t.end();
});

t.test('sizes: whole units print and parse to the same number', (t) => {
  const units = fc.constantFrom('', 'k', 'M', 'G', 'T');
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1023 }), units, (number, unit) => {
      const bytes = must(parseSize(`${number}${unit}`), 'a size');
      return (
        parseSize(formatSize(bytes)) === bytes &&
        parseSize(` ${number} ${unit.toLowerCase()}ib `.replace(' ib', ' b')) === bytes
      );
    }),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      const bytes = parseSize(text);
      return bytes === undefined || (Number.isSafeInteger(bytes) && bytes >= 0);
    }),
  );
  t.end();
});

t.test('--file and --mem', (t) => {
  t.same(fileFlag('disk.img'), { file: 'disk.img' });
  t.same(fileFlag('/a/b,size=1G,lba=4096,ro'), { file: '/a/b', size: '1G', blockSize: 4096, readOnly: true });
  t.same(fileFlag('a,b.img,ro'), { file: 'a,b.img', readOnly: true }, 'a path may have commas');
  t.same(fileFlag('a,ro,lba=512'), { file: 'a', readOnly: true, blockSize: 512 }, 'in any order');
  for (const bad of ['', ',ro', 'a,lba=1024', 'a,lba=', 'a,size=', 'a,size=x', 'a,foo=1', 'a,size=0'])
    t.throws(() => fileFlag(bad), { code: 'commander.invalidArgument' }, bad);
  t.same(memoryFlag('1G'), { memory: 2 ** 30 });
  t.same(memoryFlag('64M,lba=4096'), { memory: 2 ** 26, blockSize: 4096 });
  for (const bad of ['', '0', '1G,ro', '1G,lba=1', '1G,lba=512,'])
    t.throws(() => memoryFlag(bad), { code: 'commander.invalidArgument' }, bad);
  t.same([seconds('5'), seconds('0.5'), seconds('2m'), seconds('1h')], [5, 0.5, 120, 3600]);
  for (const bad of ['0', '-1', 'x', '1d', '', '25h']) t.throws(() => seconds(bad), bad);
  t.same([count(0, 9)('9'), count(0, 255)('0xff')], [9, 255]);
  for (const bad of ['10', '-1', '1.5', '', '1e0']) t.throws(() => count(0, 9)(bad), bad);
  t.end();
});

t.test('addresses', (t) => {
  t.same(parseAddress('127.0.0.1:4420'), { host: '127.0.0.1', port: 4420 });
  t.same(parseAddress('[::1]:0'), { host: '::1', port: 0 });
  t.same(parseAddress('localhost:1'), { host: 'localhost', port: 1 });
  for (const bad of [
    '',
    ':1',
    '1',
    '::1:1',
    '[::g]:1',
    '1.2.3:1',
    '1.2.3.400:1',
    'a:70000',
    'a:-1',
    '[a]:1',
    'a b:1',
  ])
    t.equal(parseAddress(bad), undefined, bad);
  for (const text of ['10.0.0.1:1', '[fe80::1]:65535', 'name:0'])
    t.equal(formatAddress(must(parseAddress(text), text)), text);
  const at = (text: string) => must(parseAddress(text), text);
  t.ok(covers(at('0.0.0.0:1'), at('10.0.0.1:1')));
  t.ok(covers(at('[::]:1'), at('10.0.0.1:1')));
  t.notOk(covers(at('0.0.0.0:1'), at('[::1]:1')));
  t.notOk(covers(at('0.0.0.0:1'), at('10.0.0.1:2')));
  t.notOk(covers(at('a:0'), at('a:0')), 'two ports that the system chooses are two');
  t.same(withoutCovered([at('a:1'), at('a:1'), at('0.0.0.0:1'), at('[::]:1')]), [at('[::]:1')]);
  t.ok(isLoopback(at('127.1.2.3:1')) && isLoopback(at('[::1]:1')) && !isLoopback(at('0.0.0.0:1')));
  t.end();
});

t.test('the histogram is off by less than one part in 64', (t) => {
  const values = fc.array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(values, fc.double({ min: 0.1, max: 100, noNaN: true }), (list, percent) => {
      const histogram = new Histogram();
      for (const value of list) histogram.record(value);
      const sorted = list.toSorted((a, b) => a - b);
      const exact = sorted[Math.max(1, Math.ceil((list.length * percent) / 100)) - 1]!;
      const found = histogram.percentile(percent);
      return (
        found >= exact && found <= exact * (1 + 1 / 64) + 1 && histogram.percentile(100) === sorted.at(-1)
      );
    }),
  );
  const empty = new Histogram();
  t.same([empty.percentile(99), empty.mean, empty.max], [0, 0, 0]);
  t.end();
});

t.test('a block of the pattern shows whose it is, and every changed bit', (t) => {
  const pattern = new Pattern({ crc32c }, 512);
  const any = { seed: undefined, oldest: 0, newest: Infinity };
  const blocks = new Uint8Array(1024);
  pattern.fill(blocks, 7, { seed: 5, generation: 3 });
  t.equal(pattern.problem(blocks, 7, { seed: 5, oldest: 3, newest: 3 }), undefined);
  t.match(pattern.problem(blocks, 8, any), /^block 8 holds the data of block 7$/);
  t.match(pattern.problem(blocks, 7, { ...any, seed: 6 }), /seed 5, not 6/);
  t.match(
    pattern.problem(blocks, 7, { ...any, oldest: 4 }),
    /holds write 3 of it, although write 4 was acknowledged/,
  );
  t.match(pattern.problem(blocks, 7, { ...any, newest: 2 }), /which was never made/);
  t.match(pattern.problem(new Uint8Array(512), 0, any), /was not written by bench --verify/);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 8191 }), (bit) => {
      const torn = blocks.slice();
      torn[bit >> 3]! ^= 1 << (bit & 7);
      return pattern.problem(torn, 7, { seed: 5, oldest: 3, newest: 3 }) !== undefined;
    }),
  );
  t.end();
});

t.test('commands are spelled as they can be typed here', (t) => {
  t.equal(spelling('/usr/bin/nvmetcp', '/tmp'), 'nvmetcp');
  t.equal(spelling('/p/node_modules/.bin/nvmetcp', '/p'), 'npx nvmetcp');
  t.equal(spelling('/p/dist/src/cli/main.js', '/p'), 'node dist/src/cli/main.js');
  t.equal(spelling('/p/dist/src/cli/main.js', '/q'), 'node /p/dist/src/cli/main.js');
  t.end();
});

t.test('what a controller says of itself does not steer the terminal', (t) => {
  t.equal(harmless('nqn.\u001b[31mred\u0007\u009b\n\tnext'), 'nqn.\ufffd[31mred\ufffd\ufffd\n\tnext');
  t.end();
});

t.test('what I/O waits for is said once, again when it is something else, and when it goes on', (t) => {
  const why = (requeued: number, verdict: string): Why => ({
    head: 'nvme0n1',
    id: 1,
    state: 'serving',
    iopolicy: 'round-robin',
    writeFailover: 'safe',
    delayedRemovalSecs: 0,
    verdict,
    paths: [],
    refused: [],
    inFlight: requeued,
    waiting: { requeued, held: 0, delayed: 0 },
    held: [],
    timers: [],
  });
  const waiting = new Waiting();
  const said = (requeued: number, verdict = 'waits: no path is usable') =>
    waiting.look(why(requeued, verdict))?.split('\n')[0];
  t.equal(said(0), undefined);
  t.equal(said(1), undefined, 'a moment is nothing');
  t.equal(said(1), 'nvme0n1, serving: I/O waits: no path is usable');
  t.equal(said(1), undefined);
  t.equal(said(1, 'waits: there is no path'), 'nvme0n1, serving: I/O waits: there is no path');
  t.equal(said(0), 'nvme0n1: I/O goes on');
  t.equal(said(0), undefined);
  t.end();
});
