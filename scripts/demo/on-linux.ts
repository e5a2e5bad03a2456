/** The demonstration with a Linux kernel as the target: boots it, plays, and looks at what the kernel logged. */
import { fileURLToPath } from 'node:url';
import { cacheFolder, imageOf } from '../interop/image.ts';
import { KERNELS, type Kernel } from '../interop/kernels.ts';
import { preparePackages } from '../interop/packages.ts';
import { Runner } from '../interop/runner.ts';
import { TO_LINUX } from '../interop/scenario.ts';
import { LinuxStage } from './linux-stage.ts';
import { Play } from './play.ts';

/** Compiled, this file is dist/scripts/demo/on-linux.js. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Booted, played, looked at twice as long. */
const SECONDS = 600;

export const kernelNames = KERNELS.map(({ name }) => name);
export const kernelOf = (name: string): Kernel | undefined => KERNELS.find((each) => each.name === name);

/**
 * Resolves with whether it went well; what did not is told on standard output. Throws LabError where no kernel can be
 * booted. A signal ends the process, and the guest with it.
 */
export async function playOnLinux(
  kernel: Kernel,
  pace: number,
  show: (play: Play) => Promise<void>,
): Promise<boolean> {
  preparePackages(false);
  const folder = cacheFolder();
  const image = imageOf(kernel, folder, false);
  const runner = new Runner({ kernel, image, full: false, root: ROOT, folder });
  const [result] = await runner.run([
    {
      name: 'demonstration',
      shows: 'the demonstration',
      direction: TO_LINUX,
      seconds: SECONDS,
      run: async (context) => show(new Play(await LinuxStage.open(context), pace)),
    },
  ]);
  return result?.reason === undefined;
}
