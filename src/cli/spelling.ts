/** How this program is called here, so that the commands it prints can be copied. */
import { basename, relative, sep } from 'node:path';

/** `script`: argv[1]; `node` runs it unless it is the installed command. */
export function spelling(script: string, folder: string): string {
  if (basename(script) !== 'main.js') {
    const local = script.includes(`${sep}node_modules${sep}.bin${sep}`);
    return local ? `npx ${basename(script)}` : basename(script);
  }
  const near = relative(folder, script);
  return `node ${near.startsWith('..') ? script : near}`;
}
