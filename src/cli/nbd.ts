/** `nvmetcp nbd`: a namespace as a block device for programs, without root and without a kernel module. */
import type { Command } from 'commander';
import type { NvmeDisk } from '../api/disk.ts';
import { NvmeError } from '../api/error.ts';
import type { NvmeNbd } from '../api/nbd.ts';
import { formatSize } from '../config/units.ts';
import { type ConnectFlags, EXAMPLE, addDiskFlags, addNsidFlag, withController } from './connection.ts';

interface Flags extends ConnectFlags {
  readonly nsid: number;
  readonly socket: string;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

async function nbd(flags: Flags): Promise<void> {
  await withController(flags, async ({ host, subsystem }) => {
    const disk = subsystem.head(flags.nsid);
    const served = await host.serveNbd(disk, { path: flags.socket });
    process.stdout.write(banner(disk, served));
    const why = await Promise.race([signal(), served.ended]);
    if (why === undefined) throw new NvmeError(`${disk.name} is gone`, { code: 'ENODEV' });
    const clients = served.exports.reduce((sum, each) => sum + each.clients, 0);
    const more = clients > 0 ? `, disconnects ${clients} ${clients === 1 ? 'client' : 'clients'}` : '';
    process.stderr.write(`${why}: stops${more}; a second one does not wait\n`);
    await served.close();
  });
}

/** The first signal; the next one ends the process as it always does. */
function signal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of SIGNALS) process.once(name, () => resolve(name));
  });
}

/** What to do with it, to be copied. */
function banner(disk: NvmeDisk, served: NvmeNbd): string {
  // Shells make something of a question mark.
  const uri = `'${served.uri()}'`;
  const access = disk.readOnly ? ', read-only' : '';
  return `${disk.name}: ${formatSize(disk.size)}, blocks of ${disk.blockSize} bytes${access}, on ${served.path} until Ctrl-C.

  nbdinfo ${uri}
  nbdcopy -p ${uri} copy.img
  qemu-img convert -p -O qcow2 ${uri} copy.qcow2
  mkdir -p mnt && nbdfuse mnt/disk.img ${uri} &
  fio --name=nbd --ioengine=nbd --uri=${uri} --rw=randread --bs=4k --iodepth=32 --runtime=10 --time_based
`;
}

export function addNbd(program: Command): void {
  addNsidFlag(addDiskFlags(program.command('nbd')))
    .summary('Serve a namespace to NBD programs (qemu-img, nbdcopy, nbdinfo, nbdfuse, fio).')
    .description(
      'Serve a namespace to NBD clients (qemu-img, nbdcopy, nbdinfo, nbdfuse, fio) on a Unix-domain socket, ' +
        'until SIGINT or SIGTERM. Needs neither root nor a kernel module; a lost path shows as time only.',
    )
    .requiredOption('--socket <path>', 'where to listen; made for this user only')
    .addHelpText('after', `\nExample:\n  nvmetcp nbd ${EXAMPLE} --socket /tmp/disk.sock`)
    .action(nbd);
}
