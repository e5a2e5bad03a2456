/** Unix-domain sockets of this machine. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import { dirname } from 'node:path';
import type { IoError, Listener, LocalNet, Transport } from '../ports.ts';
import { ioError } from './errors.ts';
import { NodeTransport, stopListening } from './net.ts';

/** Bytes of a path that fit `sun_path` with its NUL, on every system; more would be cut off without a word. */
const LONGEST = 103;
/** No file that is made meanwhile is open to others either. */
const PRIVATE = 0o177;

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'not permitted',
  EADDRINUSE: 'somebody answers on it already',
  ECONNREFUSED: 'nobody answers',
  ENOENT: 'no such file or folder',
  ENAMETOOLONG: `a socket's path has at most ${LONGEST} bytes`,
  ENOTSOCK: 'a file of that name exists that is no socket',
};

function failure(tried: string, path: string, code: string, message: string): IoError {
  return { code, message: `cannot ${tried} ${path}: ${REASONS[code] ?? message}` };
}

export class NodeLocalNet implements LocalNet {
  listen(
    path: string,
    accept: (transport: Transport) => void,
    done: (error: IoError | undefined, listener?: Listener) => void,
  ): void {
    const refuse = (code: string, message = code): void => done(failure('listen on', path, code, message));
    if (Buffer.byteLength(path) > LONGEST) return void setImmediate(() => refuse('ENAMETOOLONG'));
    const attempt = (mayReplace: boolean): void => {
      bind(path, accept, (error, listener) => {
        if (listener !== undefined) done(undefined, listener);
        else if (error?.code !== 'EADDRINUSE' || !mayReplace) refuse(error?.code ?? 'EIO', error?.message);
        else
          replace(this, path, (code) => {
            if (code === undefined) attempt(false);
            else refuse(code);
          });
      });
    };
    attempt(true);
  }

  connect(
    path: string,
    done: (error: IoError | undefined, transport?: Transport) => void,
  ): { cancel(): void } {
    const socket = net.connect({ path, allowHalfOpen: true });
    let answered = false;
    const refused = (error: Error): void => {
      if (answered) return;
      answered = true;
      const { code, message } = ioError(error);
      done(failure('connect to', path, code, message));
    };
    socket.on('error', refused);
    socket.once('connect', () => {
      if (answered) return;
      answered = true;
      socket.off('error', refused);
      done(undefined, new NodeTransport(socket, { path }));
    });
    return {
      cancel: () => {
        if (answered) return;
        answered = true;
        socket.destroy();
      },
    };
  }
}

function bind(
  path: string,
  accept: (transport: Transport) => void,
  done: (error: IoError | undefined, listener?: Listener) => void,
): void {
  const server = net.createServer({ allowHalfOpen: true }, (socket) =>
    accept(new NodeTransport(socket, { path })),
  );
  const refused = (error: Error): void => {
    const why = ioError(error);
    // libuv says EACCES where the system says ENOENT.
    const lost = why.code === 'EACCES' && !fs.existsSync(dirname(path));
    done(lost ? { ...why, code: 'ENOENT' } : why);
  };
  server.once('error', refused);
  // The socket's mode comes from the umask and is right from the start: it is bound within this call.
  const before = process.umask(PRIVATE);
  try {
    server.listen({ path }, () => {
      server.off('error', refused);
      server.on('error', () => undefined);
      // The file goes with the handle.
      done(undefined, {
        address: { host: path, port: 0 },
        close: (closed) => stopListening(server, closed),
      });
    });
  } finally {
    process.umask(before);
  }
}

/** Removes a socket on which nobody answers. The answer: why not. */
function replace(local: LocalNet, path: string, done: (code: string | undefined) => void): void {
  const found = look(path);
  if (typeof found === 'string') {
    done(found === 'none' ? undefined : 'ENOTSOCK');
    return;
  }
  local.connect(path, (error, transport) => {
    if (transport !== undefined) {
      transport.start({ data: () => undefined, end: () => undefined, closed: () => undefined });
      transport.close();
      done('EADDRINUSE');
    } else if (error?.code !== 'ECONNREFUSED') {
      done(error?.code === 'ENOENT' ? undefined : error?.code);
    } else {
      // Another one that starts now may have replaced it by a socket of its own.
      if (look(path) === found) fs.rmSync(path, { force: true });
      done(undefined);
    }
  });
}

/** The inode of a socket. */
function look(path: string): bigint | 'none' | 'no socket' {
  const stats = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return 'none';
  return stats.isSocket() ? stats.ino : 'no socket';
}
