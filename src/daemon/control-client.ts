/** The client's side of the control protocol. */
import { NvmeError } from '../api/error.ts';
import { refusal } from '../api/answer.ts';
import type { Transport } from '../runtime/ports.ts';
import { NodeLocalNet } from '../runtime/node/local.ts';
import { type Answer, Lines, MAX_LINE, asLine } from './control-protocol.ts';
import { type SocketPath, socketPath } from './socket-path.ts';

/** A daemon's answer that says no. */
export class ControlError extends NvmeError {
  /** Where in a configuration or in the params it is wrong. */
  readonly path: string | undefined;

  constructor(code: string, message: string, path: string | undefined) {
    super(message, { code });
    this.path = path;
  }
}

/** Whom a request is for: the daemon of that command, for what is said when it is not there. */
export type Listening = 'targetd' | 'hostd';

/** One request and its answer. Rejects with an NvmeError: ECONNREFUSED and ENOENT, nobody listens there. */
export async function request(
  path: string,
  method: string,
  params: object,
  progress: (value: unknown) => void = () => undefined,
  daemon: Listening = 'targetd',
): Promise<unknown> {
  const transport = await connect(path, daemon);
  return new Promise((resolve, reject) => {
    const lines = new Lines(4 * MAX_LINE);
    const finish = (settle: () => void): void => {
      settle();
      transport.close();
    };
    const receive = (line: string): void => {
      const reply = JSON.parse(line) as Answer;
      if ('progress' in reply) progress(reply.progress);
      else if ('result' in reply) finish(() => resolve(reply.result));
      else {
        const { code, message, path: place } = reply.error;
        finish(() => reject(new ControlError(code, message, place)));
      }
    };
    transport.start({
      data: (chunk) => {
        const complete = lines.push(chunk);
        if (complete === undefined) finish(() => reject(refusal('E2BIG', 'the answer is too long')));
        else for (const line of complete) receive(line);
      },
      end: () => finish(() => reject(refusal('ECONNRESET', 'the daemon went away before it answered'))),
      closed: (why) =>
        reject(refusal('ECONNRESET', `the daemon went away before it answered${why ? `: ${why}` : ''}`)),
    });
    transport.write([asLine({ id: 1, method, params })], () => undefined);
  });
}

async function connect(path: string, daemon: Listening): Promise<Transport> {
  let place: SocketPath;
  try {
    place = socketPath(path);
  } catch {
    throw refusal('ENOENT', nobody(path, daemon));
  }
  const { path: short } = place;
  return new Promise((resolve, reject) => {
    new NodeLocalNet().connect(short, (error, transport) => {
      place.release();
      if (transport) resolve(transport);
      else if (error?.code === 'ENOENT' || error?.code === 'ECONNREFUSED')
        reject(refusal(error.code, nobody(path, daemon)));
      else reject(refusal(error?.code ?? 'EIO', (error?.message ?? '').replaceAll(short, path)));
    });
  });
}

const nobody = (path: string, daemon: Listening): string =>
  `no ${daemon === 'hostd' ? 'host daemon' : 'target'} listens on ${path}; "nvmetcp ${daemon}" starts one, --state and --control say where it is`;
