/** Linux host → our target: reservations, as nvme-cli asks for them. */
import { Status, statusCode } from '../../../src/nvme/status.ts';
import { NvmeError } from '../../../src/api/error.ts';
import type { Context } from '../context.ts';
import { Daemon } from '../daemon.ts';
import { FROM_LINUX, type Scenario } from '../scenario.ts';

/** What `nvme resv-report --eds -o json` says. */
interface Report {
  readonly gen: number;
  readonly rtype: number;
  readonly regctl: number;
  readonly ptpls: number;
  readonly regctlext?: readonly { readonly rcsts: number; readonly rkey: number }[];
}

const says = (report: Report): string => {
  const { gen, rtype, ptpls, regctlext = [] } = report;
  const registrants = regctlext.map(({ rcsts, rkey }) => `${rkey}${(rcsts & 1) === 1 ? ' holds' : ''}`);
  return `generation ${gen}, type ${rtype}, PTPL ${ptpls}, keys ${registrants.join(', ') || 'none'}`;
};

async function report(context: Context, nqn: string): Promise<string> {
  const text = await context.guest.run(`nvme resv-report $(disk ${nqn}) -n 1 --eds -o json`);
  return says(JSON.parse(text) as Report);
}

const reservations: Scenario = {
  name: 'reservations',
  shows:
    'register, replace, unregister, acquire, preempt, release, clear with nvme-cli (blktests nvme/054); ' +
    'another host gets Reservation Conflict meanwhile',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    await context.guest.run(context.connect(target));
    const other = (
      await context.host().connect({ traddr: '127.0.0.1', trsvcid: target.port, subnqn: target.nqn })
    ).head(1);
    const block = new Uint8Array(other.blockSize);
    /** What becomes of another host's read and write. */
    const elsewhere = async (): Promise<string> => {
      const all: string[] = [];
      for (const [name, io] of [
        ['reads', () => other.read(0, 1)],
        ['writes', () => other.write(0, block)],
      ] as const)
        try {
          await io();
          all.push(name);
        } catch (error) {
          const status = error instanceof NvmeError ? error.status : undefined;
          if (status === undefined || statusCode(status) !== Status.ReservationConflict) throw error;
        }
      return all.join(' and ') || 'nothing';
    };
    const step = async (command: string, expected: string, free: string): Promise<void> => {
      await context.guest.run(
        `nvme ${command.replace(' ', ` $(disk ${target.nqn}) -n 1 `)} || fail "${command}"`,
      );
      context.equal(await report(context, target.nqn), expected, `what ${command} leaves`);
      context.equal(await elsewhere(), free, `what another host does after ${command}`);
    };
    const all = 'reads and writes';
    await step('resv-register --nrkey=4 --rrega=0', 'generation 1, type 0, PTPL 0, keys 4', all);
    await step('resv-register --crkey=4 --nrkey=5 --rrega=2', 'generation 2, type 0, PTPL 0, keys 5', all);
    await step('resv-register --crkey=5 --rrega=1', 'generation 3, type 0, PTPL 0, keys none', all);
    await step('resv-register --nrkey=4 --rrega=0', 'generation 4, type 0, PTPL 0, keys 4', all);
    for (const [rtype, free] of [
      [1, 'reads'],
      [2, 'nothing'],
      [3, 'reads'],
      [4, 'nothing'],
      [5, 'reads'],
      [6, 'nothing'],
    ] as const) {
      const held = `generation 4, type ${rtype}, PTPL 0, keys 4 holds`;
      await step(`resv-acquire --crkey=4 --rtype=${rtype} --racqa=0`, held, free);
      await context.guest.run(`verify $(disk ${target.nqn}) 256 16`);
      await step(
        `resv-release --crkey=4 --rtype=${rtype} --rrela=0`,
        'generation 4, type 0, PTPL 0, keys 4',
        all,
      );
    }
    await step(
      'resv-acquire --crkey=4 --rtype=1 --racqa=0',
      'generation 4, type 1, PTPL 0, keys 4 holds',
      'reads',
    );
    for (const racqa of [1, 2])
      await step(
        `resv-acquire --crkey=4 --prkey=4 --rtype=${1 + racqa} --racqa=${racqa}`,
        `generation ${4 + racqa}, type ${1 + racqa}, PTPL 0, keys 4 holds`,
        racqa === 1 ? 'nothing' : 'reads',
      );
    const theirs = `generation 7, type 3, PTPL 0, keys 4 holds, 9`;
    await other.reservations.register(9n);
    context.equal(await report(context, target.nqn), theirs, 'what our host’s registration leaves');
    context.equal(await elsewhere(), all, 'what a registrant does');
    await step(
      'resv-acquire --crkey=4 --prkey=9 --rtype=3 --racqa=2',
      'generation 8, type 3, PTPL 0, keys 4 holds',
      'reads',
    );
    context.equal(
      (await other.reservations.report()).registrants.length,
      1,
      'the registrants that our host sees',
    );
    const wrong = await context.guest.run(
      `nvme resv-release $(disk ${target.nqn}) -n 1 --crkey=9 --rtype=3 --rrela=0 2>&1 && fail "another key"; true`,
    );
    context.check(/conflict|0x83|0x4083/i.test(wrong), `a release with another key: ${wrong}`);
    await step('resv-release --crkey=4 --rrela=1', 'generation 9, type 0, PTPL 0, keys none', all);
    for (const feature of ['0x82', '0x83'])
      await context.guest.run(`nvme get-feature $(disk ${target.nqn}) -n 1 -f ${feature}`);
    await context.guest.run(`disconnect ${target.nqn}`);
  },
};

const kept: Scenario = {
  name: 'reservation-kept',
  shows:
    'with CPTPL a reservation is there after targetd was killed and started again, without it, it is not',
  direction: FROM_LINUX,
  async run(context) {
    const daemon = await Daemon.start(context);
    const { nqn } = daemon;
    await context.guest.run(
      `${context.connect(daemon, '-c 1 -l 60')}
      nvme resv-register $disk -n 1 --nrkey=7 --rrega=0 --cptpl=3 || fail register
      nvme resv-acquire $disk -n 1 --crkey=7 --rtype=2 --racqa=0 || fail acquire`,
    );
    await daemon.kill();
    await daemon.again();
    context.equal(await report(context, nqn), 'generation 1, type 2, PTPL 1, keys 7 holds', 'what is kept');
    await context.guest.run(
      `verify $(disk ${nqn}) 256 16
      nvme resv-register $(disk ${nqn}) -n 1 --crkey=7 --nrkey=8 --rrega=2 --cptpl=2 || fail replace`,
    );
    context.equal(await report(context, nqn), 'generation 2, type 2, PTPL 0, keys 8 holds', 'what is there');
    await daemon.stop();
    await daemon.again();
    context.equal(await report(context, nqn), 'generation 0, type 0, PTPL 0, keys none', 'what is forgotten');
    await context.guest.run(`disconnect ${nqn}`);
    await daemon.stop();
  },
};

export const LINUX_RESERVES: readonly Scenario[] = [reservations, kept];
