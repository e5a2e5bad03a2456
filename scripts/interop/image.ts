/**
 * What a guest boots: a kernel of Debian's and an initramfs with its modules, busybox, nvme-cli, fio and file system
 * tools, taken out of Debian packages with just the libraries that they name. Built once and kept in the cache.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { Release } from './apt.ts';
import { Archive } from './cpio.ts';
import { neededLibraries } from './elf.ts';
import type { Kernel } from './kernels.ts';
import { MODULES, addKernel } from './modules.ts';
import { LabError, run, say } from './tool.ts';

const PACKAGES = ['bash', 'busybox-static', 'nvme-cli', 'fio', 'e2fsprogs', 'xfsprogs'];
const PROGRAMS = ['bash', 'busybox', 'nvme', 'fio', 'mke2fs', 'e2fsck', 'mkfs.xfs', 'xfs_repair'];
/** Scripts and services that come along, and that nothing here runs. */
const UNWANTED = /^(lib)?(perl|python)|^(systemd|dpkg|debconf|adduser|passwd|media-types|mailcap|tzdata)/;

/** Changes with everything in this file and in what is given to it that makes another image. */
const recipe = (kernel: Kernel): string =>
  createHash('sha256')
    .update(JSON.stringify([2, kernel, PACKAGES, PROGRAMS, MODULES]))
    .digest('hex');

export interface Image {
  readonly kernel: string;
  readonly initramfs: string;
  /** Versions of kernel and programs, as the packages' names have them. */
  readonly versions: string;
}

/** Where images are kept, and what is left of failures; made if it is not there. */
export function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'];
  const folder = base === undefined || base === '' ? join(homedir(), '.cache') : base;
  const cache = join(folder, 'nvmetcp', 'interop');
  mkdirSync(cache, { recursive: true });
  return cache;
}

/** The image of a kernel, from the cache unless `rebuild`. */
export function imageOf(kernel: Kernel, cache: string, rebuild: boolean): Image {
  const folder = join(cache, kernel.name);
  const stamp = join(folder, 'recipe');
  const known = existsSync(stamp) && readFileSync(stamp, 'utf8') === recipe(kernel);
  if (!known || rebuild) {
    const started = Date.now();
    say(`image ${kernel.name}: building it from packages of Debian ${kernel.release}`);
    build(kernel, cache, folder);
    say(`image ${kernel.name}: built in ${Math.round((Date.now() - started) / 1000)} s`);
  }
  const image = {
    kernel: join(folder, 'vmlinuz'),
    initramfs: join(folder, 'initramfs'),
    versions: readFileSync(join(folder, 'versions'), 'utf8').trim(),
  };
  const size = Math.round(statSync(image.initramfs).size / 1e6);
  say(`image ${kernel.name}: ${folder}, initramfs ${size} MB; ${image.versions}`);
  return image;
}

function build(kernel: Kernel, cache: string, folder: string): void {
  const work = `${folder}.${process.pid}`;
  rmSync(work, { recursive: true, force: true });
  try {
    const release = new Release(kernel.release, join(cache, 'apt', kernel.release));
    release.update();
    const image = release.behind(kernel.metapackage, /^linux-image-\d/);
    if (image === undefined) throw new LabError(`${kernel.metapackage} of ${kernel.release} names no kernel`);
    const names = release.closure(PACKAGES).filter((name) => !UNWANTED.test(name));
    release.download([image], join(work, 'kernel-debs'));
    release.download(names, join(work, 'debs'));
    for (const [from, to] of [
      ['kernel-debs', 'kernel'],
      ['debs', 'user'],
    ] as const)
      for (const deb of readdirSync(join(work, from)))
        run('dpkg-deb', ['-x', join(work, from, deb), join(work, to)]);

    const archive = new Archive();
    addPrograms(archive, join(work, 'user'));
    const version = addKernel(archive, join(work, 'kernel'), join(work, 'vmlinuz'));
    archive.write(join(work, 'initramfs'));
    writeFileSync(join(work, 'versions'), `Linux ${version}, ${versions(join(work, 'debs')).join(', ')}\n`);
    for (const name of ['kernel-debs', 'debs', 'kernel', 'user'])
      rmSync(join(work, name), { recursive: true });
    writeFileSync(join(work, 'recipe'), recipe(kernel));
    rmSync(folder, { recursive: true, force: true });
    renameSync(work, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** `nvme-cli_2.3-3_amd64.deb` → `nvme-cli 2.3-3`, for what is worth telling. */
function versions(debs: string): string[] {
  return readdirSync(debs)
    .map((name) => /^([^_]+)_([^_]+)_/.exec(name))
    .filter(
      (match) => match !== null && ['nvme-cli', 'fio', 'e2fsprogs', 'xfsprogs'].includes(match[1] ?? ''),
    )
    .map((match) => `${match?.[1]} ${decodeURIComponent(match?.[2] ?? '')}`);
}

function addPrograms(archive: Archive, user: string): void {
  for (const [from, to] of [
    ['bin', 'usr/bin'],
    ['sbin', 'usr/bin'],
    ['usr/sbin', 'bin'],
    ['lib', 'usr/lib'],
  ] as const)
    archive.link(from, to);
  for (const name of ['dev', 'proc', 'sys', 'run', 'tmp', 'mnt', 'root', 'etc/nvme']) archive.folder(name);
  archive.text('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n');
  archive.text('etc/group', 'root:x:0:\n');
  archive.text('etc/hosts', '127.0.0.1 localhost\n');
  archive.file('etc/mke2fs.conf', join(user, 'etc/mke2fs.conf'));

  const files = new Map<string, string>();
  for (const folder of ['bin', 'sbin', 'usr/bin', 'usr/sbin'])
    for (const name of namesIn(join(user, folder))) files.set(name, join(user, folder, name));
  // A library lies where its user looks for it; Ceph's, which fio wants, in a folder of its own.
  const libraries = new Map<string, readonly [from: string, to: string]>();
  for (const inside of ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu/ceph'])
    for (const name of namesIn(join(user, inside)))
      libraries.set(name, [join(user, inside, name), join(inside.replace(/^lib/, 'usr/lib'), name)]);

  const waiting: string[] = [];
  for (const name of PROGRAMS) {
    const path = files.get(name);
    if (path === undefined) throw new LabError(`no package has the program ${name}`);
    archive.file(`usr/bin/${name}`, realpathSync(path), 0o755);
    waiting.push(realpathSync(path));
  }
  archive.link('usr/bin/mkfs.ext4', 'mke2fs');
  archive.link('usr/bin/sh', 'busybox');
  const done = new Set<string>();
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for (const name of neededLibraries(path)) {
      if (done.has(name)) continue;
      done.add(name);
      const [from, to] = libraries.get(name) ?? [];
      if (from === undefined || to === undefined)
        throw new LabError(`${basename(path)} needs ${name}, and no package has it`);
      const target = realpathSync(from);
      archive.file(to, target, 0o755);
      waiting.push(target);
    }
  }
  const [loader] = libraries.get('ld-linux-x86-64.so.2') ?? [];
  if (loader === undefined) throw new LabError('libc6 has no loader');
  archive.file('lib64/ld-linux-x86-64.so.2', realpathSync(loader), 0o755);
}

const namesIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
