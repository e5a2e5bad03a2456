/** `npm run docs`: writes what is generated. */
import { writeFileSync } from 'node:fs';
import { commandsDocument } from './commands.ts';

writeFileSync('docs/commands.md', commandsDocument());
