/** The target under test, in a process of its own: one subsystem over memory, one over the file that is named. */
import { nodeEnv } from '../src/runtime/node/env.ts';
import type { FileIo } from '../src/runtime/ports.ts';
import { Target } from '../src/target/target.ts';
import type { Served } from './bench.ts';

const SIZE = 64 * 2 ** 20;
const env = nodeEnv();

function serve(name: string, file: FileIo, done: (served: Served) => void): void {
  const target = new Target(env);
  const subsystem = target.addSubsystem({
    nqn: `nqn.2014-08.org.nvmexpress:bench-${name}`,
    serial: name,
    model: 'bench',
  });
  target.addNamespace(subsystem, file, {
    nsid: 1,
    uuid: '00000000-0000-4000-8000-000000000001',
    blockSize: 4096,
    readOnly: false,
  });
  target.listen({ host: '127.0.0.1', port: 0 }, (error, port) => {
    if (port === undefined) throw new Error(error?.message);
    done({ port: port.address.port, nqn: subsystem.nqn });
  });
}

const path = process.argv[2]!;
env.files.open(path, { readOnly: false, createSize: SIZE }, (error, file) => {
  if (file === undefined) throw new Error(error?.message);
  // Real blocks, in the page cache: a hole would be cheaper than what anybody reads.
  file.write(0, [new Uint8Array(SIZE).fill(1)], () => {
    serve('memory', env.files.memory(SIZE), (memory) => {
      serve('file', file, (served) => {
        console.log(JSON.stringify({ memory, file: served }));
      });
    });
  });
});
