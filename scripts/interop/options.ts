/** The command line of `npm run interop`. */
import { parseArgs } from 'node:util';
import { KERNELS, type Kernel } from './kernels.ts';

export const USAGE = `usage: npm run interop -- [options]

Boots Debian's Linux kernels under QEMU and runs this package against them: the kernel's NVMe/TCP host on our target,
our host on the kernel's target. Before that, without a kernel, NBD clients (qemu-img, nbdcopy, fio …) on our host.
Needs Debian; no root, except for --install.

  --kernel NAME     only this kernel: ${KERNELS.map(({ name }) => name).join(', ')} (default: ${KERNELS[0]?.name ?? ''}; with --full: all)
  --only NAME       only this scenario; may be repeated
  --full            the full set, half an hour for each kernel without KVM; else the quick one, of some minutes
  --install         install the Debian packages that are missing (as root)
  --rebuild         build the images anew, from the packages as they are today
  --build           only build the images
  --times N         run everything so often (default: 1)
  --mutations       break a copy of this build in ways that are known, and see that each of them is found
  --list            the scenarios and what they show
  --help            this text

Exit codes: 0 all passed, 1 something failed, 2 wrong options or a machine on which this cannot run.`;

export interface Options {
  readonly kernels: readonly Kernel[];
  /** --kernel was given. */
  readonly kernelAsked: boolean;
  readonly only: readonly string[];
  readonly full: boolean;
  readonly install: boolean;
  readonly rebuild: boolean;
  readonly build: boolean;
  readonly times: number;
  readonly mutations: boolean;
  readonly list: boolean;
  readonly help: boolean;
}

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const boolean = { type: 'boolean', default: false } as const;

/** Throws UsageError. */
export function parseOptions(args: readonly string[]): Options {
  const { kernel = [], only = [], times = '1', ...flags } = parse(args);
  const full = flags.full;
  const kernels = kernel.map((name) => {
    const found = KERNELS.find((each) => each.name === name);
    if (found) return found;
    throw new UsageError(`--kernel ${name}: there are ${KERNELS.map((each) => each.name).join(' and ')}`);
  });
  if (!/^[1-9]\d{0,3}$/.test(times)) throw new UsageError(`--times ${times}: not a count`);
  const standard = full ? KERNELS : KERNELS.slice(0, 1);
  return {
    ...flags,
    only,
    times: Number(times),
    kernels: kernels.length > 0 ? kernels : standard,
    kernelAsked: kernel.length > 0,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        kernel: { type: 'string', multiple: true },
        only: { type: 'string', multiple: true },
        times: { type: 'string' },
        full: boolean,
        install: boolean,
        rebuild: boolean,
        build: boolean,
        mutations: boolean,
        list: boolean,
        help: boolean,
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
