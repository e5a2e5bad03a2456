/** The target under test, a process of its own: a subsystem for each store. */
import { nodeEnv } from '../../src/runtime/node/env.ts';
import type { FileIo } from '../../src/runtime/ports.ts';
import { Target } from '../../src/target/target.ts';
import { say } from './child.ts';
import type { Place } from './stream.ts';
import { BLOCK, SIZE } from './work.ts';

export interface TargetInput {
  /** By store. */
  readonly files: Readonly<Record<string, string>>;
  /** That the memory is cut into; one, if not given. */
  readonly namespaces?: number;
}
export type TargetOutput = Readonly<Record<string, Place>>;

const env = nodeEnv();

function open(path: string): Promise<FileIo> {
  return new Promise((resolve, reject) => {
    env.files.open(path, { readOnly: false }, (error, file) => {
      if (file === undefined) reject(new Error(error?.message));
      else resolve(file);
    });
  });
}

/** Real blocks: holes would be cheaper than what anybody reads. */
function fill(file: FileIo): Promise<void> {
  return new Promise((resolve) => {
    file.write(0, [new Uint8Array(file.size).fill(1)], () => resolve());
  });
}

const uuid = (nsid: number): string => `00000000-0000-4000-8000-${String(nsid).padStart(12, '0')}`;

function serve(store: string, ...files: readonly FileIo[]): Promise<Place> {
  // A target for each, so that none of them sees the others' connections.
  const target = new Target(env);
  const nqn = `nqn.2014-08.org.nvmexpress:bench-${store}`;
  const subsystem = target.addSubsystem({ nqn, serial: store, model: 'bench' });
  for (const [i, file] of files.entries())
    target.addNamespace(subsystem, file, {
      nsid: i + 1,
      uuid: uuid(i + 1),
      blockSize: BLOCK,
      readOnly: false,
    });
  return new Promise((resolve, reject) => {
    target.ports.listen({ host: '127.0.0.1', port: 0 }, (error, port) => {
      if (port === undefined) reject(new Error(error?.message));
      else resolve({ port: port.address.port, nqn });
    });
  });
}

async function main(input: TargetInput): Promise<void> {
  const { namespaces = 1 } = input;
  const memory = Array.from({ length: namespaces }, () => env.files.memory(SIZE / namespaces));
  for (const file of memory) await fill(file);
  const places: Record<string, Place> = { memory: await serve('memory', ...memory) };
  for (const [store, path] of Object.entries(input.files))
    places[store] = await serve(store, await open(path));
  say(places);
}
// A profile is written by a process that ends by itself.
process.once('SIGINT', () => process.exit(0));
await main(JSON.parse(process.argv[2]!) as TargetInput);
