// Another process, for the tests that need one. Does what its parent asks, one thing after the other, and goes with it.
import type { FileIo } from '../../src/runtime/ports.ts';
import { must } from '../../src/runtime/assert.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';

export interface Asked {
  readonly what: 'open' | 'close' | 'punch' | 'lock folder';
  readonly path?: string;
  readonly readOnly?: boolean;
}

const env = nodeEnv();
let open: FileIo | undefined;
const answer = (error: { code: string } | undefined): void => void process.send?.(error?.code ?? 'ok');

process.on('disconnect', () => process.exit());
process.on('message', ({ what, path, readOnly }: Asked) => {
  if (what === 'open') {
    env.files.open(path ?? '', { readOnly: readOnly ?? false }, (error, file) => {
      open = file ?? open;
      answer(error);
    });
  } else if (what === 'lock folder') nodeEnv({ stateFolder: path }).stateFolder?.lock(answer);
  else if (what === 'close') must(open, 'a file is open').close(answer);
  else must(open, 'a file is open').punch(0, 4096, answer);
});
