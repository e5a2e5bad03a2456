/**
 * A disk of a host daemon for another process: which one it is says the control socket, its blocks go over its NBD
 * socket. Paths, reconnects and failover are the daemon's; here they show as time.
 */
import { refusal } from '../api/answer.ts';
import type { NvmeDisk } from '../api/disk.ts';
import { request } from './control-client.ts';
import type { SimpleDevice } from './host-views.ts';
import { NbdClient } from './nbd-client.ts';

/** What the tool needs of a disk, wherever it is. */
export type Disk = Pick<NvmeDisk, 'name' | 'blockSize' | 'blocks' | 'read' | 'readInto' | 'write' | 'flush'>;

/** Bytes of one request: what an NBD server takes at least. */
const MOST = 16 * 1024 * 1024;

/** Who it is for people: `nvme0n1`, or the name that stays the same, `uuid.…`. */
const isCalled = (device: SimpleDevice, name: string): boolean =>
  [device.DevicePath, device.nvmetcp.wwid, `nvme-${device.nvmetcp.wwid}`].includes(
    name.replace(/^\/dev\//, ''),
  );

/** Runs `use` with that disk. Rejects with ENODEV: the daemon has no such disk; ENOTSUP: it offers none. */
export async function withHead<T>(
  control: string,
  name: string,
  use: (disk: Disk) => Promise<T>,
): Promise<T> {
  const { Devices } = (await request(control, 'list', {}, undefined, 'hostd')) as {
    readonly Devices: readonly SimpleDevice[];
  };
  const device = Devices.find((each) => isCalled(each, name));
  if (device === undefined) {
    const names = Devices.map(({ DevicePath }) => DevicePath).join(', ');
    throw refusal('ENODEV', `the host daemon has no ${name}${names === '' ? '' : `, only ${names}`}`);
  }
  const { nbd } = device.nvmetcp;
  if (nbd === undefined)
    throw refusal('ENOTSUP', 'the host daemon offers no disks to other programs: it runs with --no-nbd');
  const client = await NbdClient.open(nbd, device.DevicePath);
  try {
    return await use(new HeadDisk(client, device));
  } finally {
    client.close();
  }
}

class HeadDisk implements Disk {
  readonly name: string;
  readonly blockSize: number;
  readonly blocks: number;
  readonly #client: NbdClient;

  constructor(client: NbdClient, { DevicePath, SectorSize, MaximumLBA }: SimpleDevice) {
    this.#client = client;
    this.name = DevicePath;
    this.blockSize = SectorSize;
    this.blocks = MaximumLBA;
  }

  async read(slba: number, blocks: number): Promise<Uint8Array> {
    this.#check('read', slba, blocks);
    const buffer = new Uint8Array(blocks * this.blockSize);
    await this.readInto(slba, buffer);
    return buffer;
  }

  async readInto(slba: number, into: Uint8Array | readonly Uint8Array[]): Promise<void> {
    const buffers = into instanceof Uint8Array ? [into] : into;
    this.#check('read', slba, this.#blocksOf('read', buffers));
    let at = slba * this.blockSize;
    const all: Promise<void>[] = [];
    for (const buffer of buffers)
      for (let from = 0; from < buffer.length; from += MOST) {
        const part = buffer.subarray(from, from + MOST);
        all.push(this.#client.read(at, part));
        at += part.length;
      }
    await Promise.all(all);
  }

  async write(
    slba: number,
    data: Uint8Array | readonly Uint8Array[],
    { fua = false }: { readonly fua?: boolean | undefined } = {},
  ): Promise<void> {
    const buffers = data instanceof Uint8Array ? [data] : data;
    this.#check('write', slba, this.#blocksOf('write', buffers));
    let at = slba * this.blockSize;
    const all: Promise<void>[] = [];
    for (const buffer of buffers)
      for (let from = 0; from < buffer.length; from += MOST) {
        const part = buffer.subarray(from, from + MOST);
        all.push(this.#client.write(at, [part], fua));
        at += part.length;
      }
    await Promise.all(all);
  }

  flush(): Promise<void> {
    return this.#client.flush();
  }

  #blocksOf(what: string, buffers: readonly Uint8Array[]): number {
    const bytes = buffers.reduce((sum, { length }) => sum + length, 0);
    if (bytes === 0 || bytes % this.blockSize !== 0)
      throw refusal(
        'EINVAL',
        `${what}: ${bytes} bytes are not a multiple of the block size, ${this.blockSize}`,
      );
    return bytes / this.blockSize;
  }

  #check(what: string, slba: number, blocks: number): void {
    if (slba + blocks > this.blocks)
      throw refusal('EINVAL', `${what} of ${blocks} blocks at ${slba}, ${this.name} has ${this.blocks}`);
  }
}
