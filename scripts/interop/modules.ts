/** A kernel package's kernel, and those of its modules that a guest needs. */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Archive } from './cpio.ts';
import { LabError, run, whereIs } from './tool.ts';

/** With those that they need. A kernel that has one built in, or lacks it, is asked in vain. */
export const MODULES = [
  ...['virtio_pci', 'virtio_net', 'virtio_rng'],
  ...['nvme_tcp', 'nvmet_tcp', 'nvme_fabrics', 'null_blk', 'loop', 'configfs'],
  ...['ext4', 'xfs', 'crc32c_generic', 'crc32c_intel', 'libcrc32c'],
];
const REQUIRED = ['virtio_net', 'nvme_tcp', 'nvmet_tcp', 'null_blk'];

/** Moves the kernel of the unpacked package to `vmlinuz`, and puts modules into the archive; gives its version. */
export function addKernel(archive: Archive, unpacked: string, vmlinuz: string): string {
  const boot = readdirSync(join(unpacked, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  if (boot === undefined) throw new LabError('the kernel package has no kernel');
  const version = boot.slice('vmlinuz-'.length);
  renameSync(join(unpacked, 'boot', boot), vmlinuz);
  const folder = usrMerged(unpacked, version);
  depmod(unpacked, version);

  const dependencies = readDependencies(join(folder, 'modules.dep'));
  const wanted = new Set<string>();
  for (const name of MODULES) {
    const path = [...dependencies.keys()].find((each) => moduleName(each) === name);
    if (path !== undefined) for (const each of [path, ...(dependencies.get(path) ?? [])]) wanted.add(each);
    else if (REQUIRED.includes(name)) throw new LabError(`Linux ${version} has no module ${name}`);
  }
  const staged = `${unpacked}.staged`;
  const to = join(staged, 'usr/lib/modules', version);
  mkdirSync(to, { recursive: true });
  usrMerged(staged, version);
  for (const path of wanted) {
    mkdirSync(dirname(join(to, path)), { recursive: true });
    const plain = path.replace(/\.xz$/, '');
    if (plain !== path) run('xz', ['-d', '-k', join(folder, path)]);
    writeFileSync(join(to, plain), readFileSync(join(folder, plain)));
    archive.file(join('usr/lib/modules', version, plain), join(to, plain));
  }
  for (const name of ['modules.builtin', 'modules.builtin.modinfo', 'modules.order'])
    writeFileSync(join(to, name), readFileSync(join(folder, name)));
  depmod(staged, version);
  for (const name of readdirSync(to).filter((each) => each.startsWith('modules.')))
    archive.file(join('usr/lib/modules', version, name), join(to, name));
  return version;
}

/** Packages and depmods differ in whether modules are below lib or usr/lib: here they are below both. */
function usrMerged(root: string, version: string): string {
  if (existsSync(join(root, 'lib'))) {
    mkdirSync(join(root, 'usr'), { recursive: true });
    if (!existsSync(join(root, 'usr/lib'))) symlinkSync('../lib', join(root, 'usr/lib'));
  } else symlinkSync('usr/lib', join(root, 'lib'));
  return join(root, 'lib/modules', version);
}

const depmod = (root: string, version: string): string =>
  run(whereIs('depmod') ?? 'depmod', ['-b', root, version]);

const moduleName = (path: string): string =>
  basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');

/** modules.dep: each module's path, and all that it needs. */
function readDependencies(path: string): Map<string, string[]> {
  const lines = readFileSync(path, 'utf8').split('\n');
  return new Map(
    lines
      .map((line) => /^([^:]+):\s*(.*)$/.exec(line))
      .filter((match) => match !== null)
      .map(([, name = '', needs = '']) => [name, needs.split(' ').filter((each) => each !== '')]),
  );
}
