/** Our host → the kernel's target, through the command line. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HOST_NQN, HOST_UUID } from '../context.ts';
import { noise, sameBytes } from '../pattern.ts';
import { TO_LINUX, type Scenario } from '../scenario.ts';

const cli: Scenario = {
  name: 'cli',
  shows: 'nvmetcp discover, id-ctrl, id-ns, list-ns, write, read, flush, bench',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux();
    const identity = ['-q', HOST_NQN, '-I', HOST_UUID];
    const to = [...linux.flags, ...identity];
    const json = async (...args: string[]): Promise<Record<string, unknown>> => {
      const { stdout } = await context.cli([...args, '-o', 'json']);
      return JSON.parse(stdout.toString()) as Record<string, unknown>;
    };
    const { traddr, trsvcid } = linux.address;
    const found = await json('discover', '-a', traddr, '-s', String(trsvcid), ...identity);
    context.check(JSON.stringify(found).includes(linux.nqn), `discover: ${JSON.stringify(found)}`);
    const controller = await json('id-ctrl', ...to);
    context.equal(controller['mn'], 'Linux', 'mn');
    context.equal(controller['sn'], 'INTEROP1', 'sn');
    const namespace = await json('id-ns', ...to);
    context.equal(namespace['nsze'], 131_072, 'nsze');
    const list = await context.cli(['list-ns', ...to]);
    context.check(/\b0x1\b|\b1\b/.test(list.stdout.toString()), `list-ns: ${list.stdout.toString()}`);

    const data = noise(300 * 512);
    const [from, back] = [join(context.folder, 'from'), join(context.folder, 'back')];
    await writeFile(from, data);
    await context.cli(['write', ...to, '--slba', '77', '--data', from, '--fua']);
    await context.cli(['flush', ...to]);
    await context.cli(['read', ...to, '-g', '-G', '--slba', '77', '--blocks', '300', '--data', back]);
    sameBytes(await readFile(back), data, 'what nvmetcp read');
    const piped = noise(1000);
    await context.cli(['write', ...to, '--slba', '8', '--pad'], piped);
    const { stdout } = await context.cli(['read', ...to, '--slba', '8', '--blocks', '2']);
    sameBytes(stdout.subarray(0, 1000), piped, 'what nvmetcp read through a pipe');
    // The kernel sees it too, past our code.
    const sum = await context.guest.run(
      'dd if=/dev/nullb0 bs=512 skip=77 count=300 iflag=direct 2>/dev/null | sha256sum',
    );
    context.equal(sum.split(' ')[0], createHash('sha256').update(data).digest('hex'), 'the sum of the disk');
    context.check(linux.wire.traffic.fua > 0, 'write --fua has no FUA');

    const refused = await context.tryCli(['read', ...to, '--slba', '131072', '--data', back]);
    context.equal(refused.status, 1, 'the exit code of a read past the end');
    context.note(refused.stderr.trim());
    const absent = await context.tryCli(['id-ctrl', ...to, '-n', 'nqn.2024-01.test.interop:none']);
    context.equal(absent.status, 1, 'the exit code when there is no such subsystem');
    context.note(absent.stderr.trim());
  },
};

export const OUR_CLI: readonly Scenario[] = [cli];
