/** The server's side of the control protocol: connections, requests one after the other on each, answers. */
import type { z } from 'zod';
import { asNvmeError } from '../api/prepare.ts';
import { answer, refusal } from '../api/answer.ts';
import { NvmeError } from '../api/error.ts';
import { ConfigError } from '../config/problem.ts';
import { checked, parseJson } from '../config/checked.ts';
import type { IoError, Listener, Transport } from '../runtime/ports.ts';
import { NodeLocalNet } from '../runtime/node/local.ts';
import {
  type Answer,
  type ControlFault,
  Lines,
  MAX_CONNECTIONS,
  MAX_LINE,
  type RequestId,
  asLine,
  requestForm,
} from './control-protocol.ts';
import { type SocketPath, socketPath } from './socket-path.ts';

export interface Caller {
  /** Tells how far it is; the client may not care. */
  progress(value: unknown): void;
  /** Aborted when the client goes away. */
  readonly gone: AbortSignal;
}

export interface Method {
  /** Runs with params that were checked. */
  call(params: unknown, caller: Caller): unknown;
}

/** A method whose params have this form. */
export function method<T>(params: z.ZodType<T>, run: (params: T, caller: Caller) => unknown): Method {
  return { call: (value, caller) => run(checked(params, value, 'params'), caller) };
}

export type Methods = ReadonlyMap<string, Method>;

export class ControlServer {
  readonly #methods: Methods;
  readonly #connections = new Set<ControlConnection>();
  #listener: Listener | undefined = undefined;
  #path: SocketPath | undefined = undefined;

  constructor(methods: Methods) {
    this.#methods = methods;
  }

  /** Makes the socket, for this user only; rejects with EADDRINUSE when somebody answers on it. */
  async listen(path: string): Promise<void> {
    const place = socketPath(path);
    const local = new NodeLocalNet();
    try {
      this.#listener = await new Promise<Listener>((resolve, reject) => {
        local.listen(
          place.path,
          (transport) => this.#accept(transport),
          (error: IoError | undefined, listener) => {
            if (listener) resolve(listener);
            else reject(refusal(error?.code ?? 'EIO', (error?.message ?? path).replaceAll(place.path, path)));
          },
        );
      });
      this.#path = place;
    } catch (error) {
      place.release();
      throw error;
    }
  }

  /** No more requests; those that run are left to end by themselves. */
  async close(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    for (const connection of this.#connections) connection.close();
    if (listener) await answer<undefined>((done) => listener.close(() => done(undefined)));
    this.#path?.release();
    this.#path = undefined;
  }

  #accept(transport: Transport): void {
    const connection = new ControlConnection(transport, this.#methods, () =>
      this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    if (this.#connections.size > MAX_CONNECTIONS)
      connection.refuse({
        code: 'EAGAIN',
        message: `there are ${MAX_CONNECTIONS} control connections already`,
      });
  }
}

class ControlConnection {
  readonly #transport: Transport;
  readonly #methods: Methods;
  readonly #lines = new Lines(MAX_LINE);
  readonly #gone = new AbortController();
  readonly #waiting: string[] = [];
  #busy = false;
  /** Nothing more is read: the client has ended, or was refused. */
  #ended = false;

  constructor(transport: Transport, methods: Methods, closed: () => void) {
    this.#transport = transport;
    this.#methods = methods;
    transport.start({
      data: (chunk) => this.#data(chunk),
      end: () => {
        this.#ended = true;
        this.#next();
      },
      closed: () => {
        this.#ended = true;
        this.#waiting.length = 0;
        this.#gone.abort();
        closed();
      },
    });
  }

  refuse(error: ControlFault): void {
    this.#send({ id: null, error });
    this.#ended = true;
    this.#waiting.length = 0;
    if (!this.#busy) this.#transport.end();
  }

  close(): void {
    this.#transport.close();
  }

  #data(chunk: Uint8Array): void {
    if (this.#ended) return;
    const lines = this.#lines.push(chunk);
    if (lines === undefined) {
      this.refuse({ code: 'E2BIG', message: `a request has at most ${MAX_LINE} bytes` });
      return;
    }
    this.#waiting.push(...lines.filter((line) => line.trim() !== ''));
    this.#next();
  }

  /** What is not answered yet keeps the rest from being read: a client cannot pile up requests. */
  #next(): void {
    if (this.#busy || this.#gone.signal.aborted) return;
    const line = this.#waiting.shift();
    if (line === undefined) {
      if (this.#ended) this.#transport.end();
      else this.#transport.resume();
      return;
    }
    this.#busy = true;
    this.#transport.pause();
    void this.#answer(line).then((reply) => {
      this.#busy = false;
      this.#send(reply);
      this.#next();
    });
  }

  async #answer(line: string): Promise<Answer> {
    let id: RequestId | null = null;
    try {
      const value = parseJson(line);
      id = idOf(value);
      const request = checked(requestForm, value, 'the request');
      const found = this.#methods.get(request.method);
      if (found === undefined)
        throw refusal('ENOSYS', `there is no method ${JSON.stringify(request.method)}`);
      const { id: own } = request;
      const result = await found.call(request.params, {
        progress: (progress) => this.#send({ id: own, progress }),
        gone: this.#gone.signal,
      });
      return { id: own, result: result ?? {} };
    } catch (thrown) {
      const error = asNvmeError(thrown);
      if (error === undefined) throw thrown;
      return { id, error: faultOf(error) };
    }
  }

  #send(reply: Answer): void {
    if (!this.#gone.signal.aborted) this.#transport.write([asLine(reply)], () => undefined);
  }
}

/** To be told which request was wrong, if it says so. */
function idOf(value: unknown): RequestId | null {
  if (typeof value !== 'object' || value === null || !('id' in value)) return null;
  const { id } = value;
  return typeof id === 'string' || typeof id === 'number' ? id : null;
}

function faultOf(error: NvmeError): ControlFault {
  const { code, message } = error;
  let cause: unknown = error;
  while (cause instanceof NvmeError) ({ cause } = cause);
  const path = cause instanceof ConfigError ? cause.path : undefined;
  return { code, message: message.replaceAll(/\s*\n\s*/g, ' '), ...(path !== undefined && { path }) };
}
