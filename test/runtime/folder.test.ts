import { chmodSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeFolder } from '../../src/runtime/node/folder.ts';

t.test('folders are made for this user alone, with those above them; what is there stays as it is', (t) => {
  const folder = t.testdir({});
  const deep = join(folder, 'a/b/c');
  makeFolder(deep);
  t.equal(statSync(deep).mode & 0o777, 0o700);
  t.equal(statSync(join(folder, 'a')).mode & 0o777, 0o700);
  const open = join(folder, 'open');
  mkdirSync(open);
  // Whatever the umask is.
  chmodSync(open, 0o755);
  makeFolder(open);
  t.equal(statSync(open).mode & 0o777, 0o755);
  t.end();
});

t.test('a folder that cannot be made is refused in words', (t) => {
  const folder = t.testdir({});
  const file = join(folder, 'file');
  writeFileSync(file, '');
  t.throws(() => makeFolder(file), { code: 'ENOTDIR', message: `${file} is not a folder` });
  t.throws(() => makeFolder(join(file, 'below')), { code: 'ENOTDIR', message: /: not a folder$/ });
  const nowhere = join(folder, 'nowhere');
  symlinkSync(join(folder, 'missing/target'), nowhere);
  t.throws(() => makeFolder(nowhere), { name: 'IoFailure' });
  t.end();
});

t.test('where the system makes no folders, that is said', { skip: !existsSync('/proc/self') }, (t) => {
  t.throws(() => makeFolder('/proc/none'), { message: /^\/proc\/none: there is no such file or folder$/ });
  t.end();
});
