import { readFileSync } from 'node:fs';
import t from 'tap';
import { commandsDocument } from './commands.ts';

t.test('docs/commands.md is what the target answers (npm run docs)', (t) => {
  const path = new URL('../../docs/commands.md', import.meta.url);
  t.equal(readFileSync(path, 'utf8'), commandsDocument());
  t.end();
});
