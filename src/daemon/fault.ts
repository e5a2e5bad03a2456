/** The end of a daemon by a fault of its own. */
import type { NodeEnv } from '../runtime/node/env.ts';

/**
 * Nothing is known to be right any more: not even an orderly stop. The last events are written down, one line says so,
 * and the process ends with 1. What was acknowledged is where it was acknowledged from.
 */
export function endByFault(command: string, env: NodeEnv, error: unknown): never {
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  let dump: string;
  try {
    dump = `the last events are in ${env.trace.dump(error) ?? 'no file'}`;
  } catch (failed) {
    dump = `the last events could not be written: ${String(failed)}`;
  }
  process.stderr.write(`nvmetcp ${command}: a fault of its own, ${message.split('\n')[0] ?? ''}; ${dump}\n`);
  if (process.env['NVMETCP_DEBUG'] === '1' && error instanceof Error)
    process.stderr.write(`${error.stack ?? ''}\n`);
  process.exit(1);
}
