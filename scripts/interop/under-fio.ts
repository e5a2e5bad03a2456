/** fio in the guest, verifying, for as long as something is changed from outside. */
import type { Context } from './context.ts';

/** One run of fio after the other, each of so many seconds: it ends soon after it may. */
const SECONDS = 6;

/** fio runs on the first disk while `change` does what it does here; its errors are the scenario's. */
export async function underFio(
  context: Context,
  target: { readonly nqn: string },
  change: () => Promise<void>,
): Promise<void> {
  // A subshell in a subshell: what fails ends the inner one.
  await context.guest.run(
    `rm -f /tmp/stop /tmp/job.status
    disk=$(disk ${target.nqn})
    ((until [ -e /tmp/stop ]; do
      fio_verify $disk --size=2m --verify_backlog=64 --time_based --runtime=${SECONDS}
    done) >/tmp/job 2>&1; echo $? >/tmp/job.status) >/dev/null 2>&1 &`,
  );
  try {
    await change();
  } catch (error) {
    // What fio says may be why.
    const { output } = await context.guest.step('cat /tmp/job');
    throw new Error(`${error instanceof Error ? error.message : String(error)}\nfio:\n${output}`, {
      cause: error,
    });
  }
  context.note(
    await context.guest.run(
      `touch /tmp/stop; wait_for 60 test -s /tmp/job.status; cat /tmp/job; exit $(cat /tmp/job.status)`,
      80,
    ),
  );
}
