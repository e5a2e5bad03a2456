import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { must } from '../../src/runtime/assert.ts';
import { NodeLocalNet } from '../../src/runtime/node/local.ts';
import type { IoError, Listener, Transport, TransportEvents } from '../../src/runtime/ports.ts';

const local = new NodeLocalNet();
/** Short, wherever the tests are: a socket's path has a limit. */
const folder = fs.mkdtempSync(join(tmpdir(), 'local-'));
t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));

interface Answer<T> {
  readonly error: IoError | undefined;
  readonly value: T | undefined;
}
const listen = (path: string, accept: (transport: Transport) => void = () => undefined) =>
  new Promise<Answer<Listener>>((resolve) =>
    local.listen(path, accept, (error, value) => resolve({ error, value })),
  );
const connect = (path: string) =>
  new Promise<Answer<Transport>>((resolve) =>
    local.connect(path, (error, value) => resolve({ error, value })),
  );
const close = (listener: Listener | undefined): Promise<void> =>
  new Promise((resolve) => must(listener, 'it listens').close(resolve));

/** Resolves with what came until the other side ended. */
function all(transport: Transport): Promise<string> {
  const chunks: Uint8Array[] = [];
  return new Promise((resolve) => {
    const events: TransportEvents = {
      data: (chunk) => chunks.push(chunk),
      end: () => {
        resolve(Buffer.concat(chunks).toString());
        transport.end();
      },
      closed: () => undefined,
    };
    transport.start(events);
  });
}

t.test('a Unix-domain socket carries bytes both ways, is private, and goes with its listener', async (t) => {
  const path = join(folder, 'both');
  const modeOf = (name: string): number => {
    fs.writeFileSync(join(folder, name), '');
    return fs.statSync(join(folder, name)).mode & 0o777;
  };
  const before = modeOf('before');
  let server: Transport | undefined;
  const { value: listener } = await listen(path, (transport) => {
    server = transport;
    transport.write([Buffer.from('from the server')], () => transport.end());
  });
  t.equal(modeOf('afterwards'), before, 'files made afterwards are not private by this');
  t.equal(fs.statSync(path).mode & 0o777, 0o600);
  t.strictSame(listener?.address, { host: path, port: 0 });
  const { value: client } = await connect(path);
  t.strictSame(client?.remote, { host: path, port: 0 });
  const received = all(must(client, 'connected'));
  t.equal(await received, 'from the server');
  must(server, 'accepted').reset();
  await close(listener);
  t.notOk(fs.existsSync(path));
});

t.test('a socket that a dead process left is replaced', async (t) => {
  const path = join(folder, 'stale');
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const other = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(other.stdout, 'data');
  t.match((await listen(path)).error, {
    code: 'EADDRINUSE',
    message: `cannot listen on ${path}: somebody answers on it already`,
  });
  other.kill('SIGKILL');
  await once(other, 'exit');
  t.ok(fs.existsSync(path));
  const { error, value } = await listen(path);
  t.equal(error, undefined);
  t.match((await listen(path)).error, { code: 'EADDRINUSE' });
  await close(value);
});

t.test('what cannot be listened on or connected to is said by name, and nothing is lost', async (t) => {
  const path = join(folder, 'file');
  fs.writeFileSync(path, 'precious');
  t.match((await listen(path)).error, {
    code: 'ENOTSOCK',
    message: 'a file of that name exists that is no socket',
  });
  t.equal(fs.readFileSync(path, 'utf8'), 'precious');
  t.match((await listen(join(folder, 'no', 'such', 'folder'))).error, { code: /ENOENT|EACCES/ });
  t.match((await listen(join(folder, 'x'.repeat(120)))).error, { code: 'ENAMETOOLONG' });
  t.match((await connect(join(folder, 'nobody'))).error, {
    code: 'ENOENT',
    message: 'no such file or folder',
  });
  local.connect(join(folder, 'nobody'), () => t.fail('was given up')).cancel();
});
