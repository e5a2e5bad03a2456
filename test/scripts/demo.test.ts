/** The demonstration without its picture, as an end-to-end test; and the picture without the demonstration. */
import t from 'tap';
import { Play, type View } from '../../scripts/demo/play.ts';
import { sparkline } from '../../scripts/demo/screen.ts';
import { build, run } from '../doubles/nvmetcp.ts';

build();
const DEMO = 'scripts/demo/main.js';

t.test('no I/O fails while paths are cut, change and go, and all data is right', async (t) => {
  const { code, stdout, stderr } = await run(DEMO, ['--pace', '0.1']);
  t.equal(stderr, '');
  t.equal(code, 0);
  const lines = String(stdout).trim().split('\n');
  t.equal(lines.length, 10);
  t.match(lines[7], /removed.*\[no path; /);
  t.match(lines[8], /same disk.*optimized, .*optimized/);
  t.match(lines[9], /ok: \d+ I\/Os, \d+ blocks verified, 0 failed$/);
});

t.test('data that is not what was written ends it', async (t) => {
  const play = await Play.open(0.1);
  const { disk } = play.stage;
  // After each step, so that some of it is behind what was written, however little that is.
  const spoil = (): void => void disk.writeZeroes(0, disk.blocks).catch(() => undefined);
  await t.rejects(play.run(spoil), { code: 'EILSEQ' });
});

t.test('an I/O that fails ends it', async (t) => {
  const play = await Play.open(0.1);
  const forget = ({ step }: View): void => {
    if (step === 7) play.stage.disk.delayedRemovalSecs = 0;
  };
  await t.rejects(play.run(forget), { name: 'NvmeError' });
  t.equal(play.view.failed, 1);
});

t.test('options: help has an example, and what is wrong is said', async (t) => {
  t.match(String((await run(DEMO, ['--help'])).stdout), /Examples: npm run demo/);
  t.match(await run(DEMO, ['--pace', 'x']), {
    code: 2,
    stderr: /--pace x is not a number; --help says more/,
  });
  t.match(await run(DEMO, ['--linux', '2.6']), { code: 2, stderr: /--linux 2\.6: there are 6\.12 and / });
  t.match(await run(DEMO, ['6.12']), { code: 2, stderr: /"6\.12" is not understood/ });
  t.match(await run(DEMO, ['--nonsense']), { code: 2, stderr: /nonsense/ });
});

t.test('a sparkline compares with its largest', (t) => {
  t.equal(sparkline([0, 1, 4, 8]), ' ▁▄█');
  t.equal(sparkline([0, 0]), '  ');
  t.end();
});
