/** What this machine offers to a target and a host in user space: each finding with what it means. */
import * as fs from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { answer } from '../api/answer.ts';
import { formatSize } from '../config/units.ts';
import type { FileIo, Listener } from '../runtime/ports.ts';
import { hasNativeCrc32c } from '../runtime/node/crypto.ts';
import { nodeEnv } from '../runtime/node/env.ts';
import { inWords } from '../runtime/node/errors.ts';
import { Syscalls } from '../runtime/node/syscalls.ts';
import { DEFAULT_LIMITS } from '../target/limits.ts';
import { request } from './control-client.ts';
import type { TargetShown } from './show.ts';

export interface Finding {
  readonly name: string;
  /** `warning`: works, with something missing; `failed`: does not work. */
  readonly state: 'ok' | 'warning' | 'failed';
  readonly found: string;
  /** What it means; empty where that is plain. */
  readonly means: string;
}

export interface DoctorOptions {
  /** Where disk images would be. */
  readonly folder: string;
  /** Path of a control socket. */
  readonly control: string;
}

/** Room besides connections: files, the state, the log. */
const SPARE_FILES = 64;
const OLDEST_NODE = [20, 19] as const;
const PORTS = [
  [4420, 'NVMe/TCP'],
  [8009, 'discovery'],
] as const;

const finding = (name: string, good: boolean, found: string, means = ''): Finding => ({
  name,
  state: good ? 'ok' : 'warning',
  found,
  means: good ? '' : means,
});

export async function examine(options: DoctorOptions): Promise<Finding[]> {
  const running = await runningTarget(options.control);
  return [
    node(),
    finding(
      'FFI (koffi)',
      Syscalls.load() !== undefined,
      Syscalls.load() === undefined ? 'not there' : 'loads',
      NO_FFI,
    ),
    finding(
      'CRC32C',
      hasNativeCrc32c(),
      hasNativeCrc32c() ? 'native' : 'in JavaScript',
      'digests cost several times more; @node-rs/crc32 is an optional dependency',
    ),
    ...(await folder(options.folder)),
    openFiles(),
    memory(),
    threads(),
    running,
    ...(await Promise.all(PORTS.map(([port, what]) => freePort(port, what)))),
    hostIdentity(),
    kernel(),
  ];
}

const NO_FFI =
  'no holes (Deallocate frees no space), no mapped files, and locks that do not reach into containers; ' +
  'koffi is an optional dependency';

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const good = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  return {
    name: 'Node.js',
    state: good ? 'ok' : 'failed',
    found: `${process.versions.node}, ${process.platform} ${process.arch}`,
    means: good ? '' : `at least ${OLDEST_NODE.join('.')} is needed`,
  };
}

/** Tried with a file of a few blocks, which is gone afterwards. */
async function folder(path: string): Promise<Finding[]> {
  const name = `disks in ${path}`;
  let made: string;
  try {
    made = fs.mkdtempSync(join(path, '.nvmetcp-doctor-'));
  } catch (error) {
    return [{ name, state: 'failed', found: inWords(error), means: 'no disk image can be made there' }];
  }
  try {
    const { files } = nodeEnv();
    const file = await answer<FileIo>((done) =>
      files.open(join(made, 'disk'), { readOnly: false, createSize: 1024 ** 2 }, done),
    );
    const works = async (start: (done: (error?: unknown) => void) => void): Promise<boolean> =>
      new Promise((resolve) => start((error) => resolve(error === undefined)));
    await works((done) => file.write(0, [new Uint8Array(65_536)], done));
    const synced = await works((done) => file.sync(done));
    const holes = file.canPunch && (await works((done) => file.punch(0, 65_536, done)));
    const zeroes = await works((done) => file.zero(65_536, 65_536, done));
    const copies = await works((done) => file.copy(0, 131_072, 65_536, done));
    const second = await new Promise<boolean>((resolve) =>
      files.open(join(made, 'disk'), { readOnly: false }, (error) => resolve(error?.code === 'EBUSY')),
    );
    await answer<undefined>((done) => file.close(done));
    const { bavail, bsize } = fs.statfsSync(path);
    return [
      {
        name,
        state: synced ? 'ok' : 'failed',
        found: `${formatSize(bavail * bsize, 1)} free`,
        means: synced ? '' : 'a flush fails, so nothing is safe there',
      },
      finding(
        'holes',
        holes,
        holes ? 'yes' : 'no',
        'Deallocate and Write Zeroes with DEAC free no space there',
      ),
      finding('zeroing in place', zeroes, zeroes ? 'yes' : 'no', 'Write Zeroes writes them'),
      finding('copies by the file system', copies, copies ? 'yes' : 'no', 'Copy reads and writes'),
      {
        name: 'locks',
        state: second ? 'ok' : 'failed',
        found: second ? 'yes' : 'no',
        means: second ? '' : 'two targets could use the same file',
      },
    ];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [{ name, state: 'failed', found: why, means: 'no disk can be exported from there' }];
  } finally {
    fs.rmSync(made, { recursive: true, force: true });
  }
}

function openFiles(): Finding {
  const text = readText('/proc/self/limits') ?? '';
  const soft = /^Max open files\s+(\S+)/m.exec(text)?.[1];
  const most = soft === undefined || soft === 'unlimited' ? Infinity : Number(soft);
  const enough = most >= DEFAULT_LIMITS.connections + SPARE_FILES;
  const room = Math.max(0, most - SPARE_FILES);
  return finding(
    'open files',
    enough,
    Number.isFinite(most) ? String(most) : 'no limit known',
    `room for some ${room} connections and files; the target would take ${DEFAULT_LIMITS.connections} connections (ulimit -n, LimitNOFILE=)`,
  );
}

function memory(): Finding {
  const { capsuleBudget, writeBudget, readBudget } = DEFAULT_LIMITS;
  const most = capsuleBudget + writeBudget + readBudget;
  return finding(
    'memory',
    totalmem() > 2 * most,
    formatSize(totalmem(), 1),
    `buffers of a busy target may take up to ${formatSize(most, 1)}`,
  );
}

function threads(): Finding {
  const size = Number(process.env['UV_THREADPOOL_SIZE'] ?? 4);
  const cores = availableParallelism();
  return finding(
    'threads for files',
    size >= 4,
    `${size} (UV_THREADPOOL_SIZE), cores: ${cores}`,
    'disk reads and flushes wait for each other',
  );
}

async function runningTarget(control: string): Promise<Finding> {
  try {
    const { subsystems, ports } = (await request(control, 'show', {})) as TargetShown;
    const listening = ports.flatMap((port) => port.listening ?? []).join(', ') || 'nowhere';
    return finding('target', true, `runs, subsystems: ${subsystems.length}, listens on ${listening}`);
  } catch {
    return finding('target', true, `none runs with ${control}`);
  }
}

async function freePort(port: number, what: string): Promise<Finding> {
  const { net } = nodeEnv();
  const name = `TCP port ${port} (${what})`;
  return new Promise((resolve) => {
    net.listen(
      { host: '0.0.0.0', port },
      (transport) => transport.reset(),
      (error, listener?: Listener) => {
        if (listener) listener.close(() => resolve(finding(name, true, 'free')));
        else
          resolve(
            finding(
              name,
              false,
              error?.message ?? 'in use',
              'a target can listen on another port, or is that one',
            ),
          );
      },
    );
  });
}

function hostIdentity(): Finding {
  const hostnqn = readText('/etc/nvme/hostnqn')?.trim();
  return finding(
    'host NQN',
    true,
    hostnqn ?? 'none in /etc/nvme/hostnqn; the initiator makes one and keeps it',
  );
}

function kernel(): Finding {
  const loaded = ['nvme_tcp', 'nvmet_tcp'].filter((name) => fs.existsSync(`/sys/module/${name}`));
  return finding('kernel modules', true, `none needed; loaded: ${loaded.join(', ') || 'none'}`);
}

function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
