// The same seeds under another version of Node, which npm brings: its traces are the same, event by event.
import t from 'tap';
import { spawnSync } from 'node:child_process';
import { hashSeeds } from './hash-seeds.ts';

const SEEDS = 20;

t.test('the same seed gives the same trace hash on another version of Node', (t) => {
  const other = process.version.startsWith('v24.') ? 22 : 24;
  const script = new URL('./hash-seeds.ts', import.meta.url).pathname;
  const { PATH = '', HOME = '', CI } = process.env;
  // Newer versions run TypeScript as it is.
  const { status, stdout, stderr } = spawnSync(
    'npx',
    ['--yes', '--package', `node@${other}`, 'node', script, String(SEEDS)],
    { env: { PATH, HOME }, encoding: 'utf8' },
  );
  if (status !== 0 && /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.test(stderr) && CI === undefined) {
    t.comment(`npm cannot fetch Node ${other} here: nothing was compared`);
    t.end();
    return;
  }
  if (status !== 0) t.comment(stderr);
  t.equal(status, 0, 'it runs');
  const [version, hash] = stdout.trim().split(' ');
  t.match(version, new RegExp(`^v${other}\\.`));
  t.equal(hash, hashSeeds(SEEDS));
  t.end();
});
