/** The examples, as their users run them. */
import t from 'tap';
import { build, run } from '../doubles/nvmetcp.ts';

build();

t.test('examples/disk: one disk over two ways', async (t) => {
  const { code, stdout, stderr } = await run('examples/disk.js');
  t.equal(stderr, '');
  t.match(
    String(stdout),
    /^nvme0n1: 131072 blocks of 512 bytes over 2 paths\nwhat was written is what is read\nNVME_LBA_OUT_OF_RANGE: .*\n$/,
  );
  t.equal(code, 0);
});

t.test('examples/watch: what a discovery service names is connected, and seen', async (t) => {
  const { code, stdout, stderr } = await run('examples/watch.js');
  t.equal(stderr, '');
  t.match(String(stdout), /head added/);
  t.match(String(stdout), /path changed: optimized/);
  t.equal(code, 0);
});
