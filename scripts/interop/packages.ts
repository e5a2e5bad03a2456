/** What this machine must have before a kernel can be booted: Debian, and a few packages. */
import { existsSync, readFileSync } from 'node:fs';
import { LabError, run, say, whereIs } from './tool.ts';

/** A program that is called, and the Debian package that brings it. */
const NEEDED = [
  ['qemu-system-x86_64', 'qemu-system-x86'],
  ['depmod', 'kmod'],
  ['modprobe', 'kmod'],
  ['xz', 'xz-utils'],
  ['dpkg-deb', 'dpkg'],
  ['apt-get', 'apt'],
] as const;
/** What the NBD scenarios run. */
const NBD_TOOLS = [
  ['nbdinfo', 'libnbd-bin'],
  ['nbdcopy', 'libnbd-bin'],
  ['nbdfuse', 'nbdfuse'],
  ['fusermount3', 'fuse3'],
  ['qemu-img', 'qemu-utils'],
  ['qemu-io', 'qemu-utils'],
  ['fio', 'fio'],
] as const;
const KEYRINGS = ['gpg', 'pgp', 'asc'].map((end) => `/usr/share/keyrings/debian-archive-keyring.${end}`);

/** The keys that Debian's releases are signed with. */
export function keyring(): string {
  const found = KEYRINGS.find((path) => existsSync(path));
  if (found === undefined) throw new LabError('the package debian-archive-keyring is missing');
  return found;
}

function checkDistribution(): void {
  const text = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const value = (key: string): string | undefined => new RegExp(`^${key}="?([^"\\n]*)`, 'm').exec(text)?.[1];
  if (process.arch !== 'x64')
    throw new LabError(`kernels of x86-64 are booted here, and this machine is ${process.arch}`);
  if (process.platform === 'linux' && value('ID') === 'debian') return;
  const name = value('PRETTY_NAME') ?? process.platform;
  throw new LabError(
    `this needs Debian 12 or newer: kernel, nvme-cli and fio are put together from Debian packages, and this is ${name}. ` +
      'A container is enough: docker run --rm -v "$PWD":/work -w /work node:20-bookworm npm run interop -- --install',
  );
}

const without = (programs: readonly (readonly [string, string])[]): string[] => [
  ...new Set(programs.filter(([program]) => whereIs(program) === undefined).map(([, name]) => name)),
];

function missing(): string[] {
  const names = without(NEEDED);
  if (!KEYRINGS.some((path) => existsSync(path))) names.push('debian-archive-keyring');
  return names;
}

/** For kernels. Throws LabError when something is missing and may not, or cannot, be installed. */
export function preparePackages(install: boolean): void {
  checkDistribution();
  prepare(missing, install);
}

/** For NBD clients, on any distribution that has them; only Debian's are installed. */
export function prepareNbdTools(install: boolean): void {
  prepare(() => without(NBD_TOOLS), install);
}

function prepare(missing: () => string[], install: boolean): void {
  const names = missing();
  if (names.length === 0) return;
  const command = `apt-get install --no-install-recommends ${names.join(' ')}`;
  if (!install)
    throw new LabError(
      `missing Debian packages: ${names.join(' ')}\n` +
        `  sudo ${command}\n  or run this as root with --install`,
    );
  if (process.getuid?.() !== 0) throw new LabError(`--install needs root; or run yourself: sudo ${command}`);
  say(`installing ${names.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const options = ['-q', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  run('apt-get', [...options, 'update'], { env });
  run('apt-get', [...options, 'install', '-y', '--no-install-recommends', ...names], { env });
  const left = missing();
  if (left.length > 0) throw new LabError(`still missing after apt-get install: ${left.join(' ')}`);
}
