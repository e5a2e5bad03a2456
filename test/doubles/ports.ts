/** TCP ports that a test lets go and takes again, or that it wants nobody to have. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below those that systems give to whoever asks for any, so that nobody gets one of these by chance. */
const FIRST = 12_000;
const COUNT = 16_000;
/** Of one process; tests run side by side. */
const SHARE = 16;
let next = (process.pid * SHARE) % COUNT;

/** One that nobody has now, at whatever address. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + (next++ % COUNT);
    const server = createServer();
    try {
      await once(server.listen(port, '0.0.0.0'), 'listening');
    } catch {
      continue;
    }
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
