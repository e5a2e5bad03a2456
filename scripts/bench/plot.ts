/** A report as a bar chart: what share of the yardstick's rate the target reaches, row by row. */
import type { Report } from './main.ts';

const ROW = 22;
const LEFT = 330;
const WIDTH = 520;
const TOP = 48;
/** The share at the right edge. */
const FULL = 1.25;
const COLORS = { socket: '#3b6ea5', file: '#c2803a' } as const;

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

function bar(y: number, height: number, share: number, color: string): string {
  const width = Math.min(share / FULL, 1) * WIDTH;
  return (
    `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${height}" fill="${color}"/>` +
    `<text x="${(LEFT + width + 4).toFixed(1)}" y="${y + height - 1}" font-size="9">${share.toFixed(2)}</text>`
  );
}

export function plot({ results, node }: Report): string {
  const rows = results.filter(({ ratios }) => ratios.socket !== undefined);
  const height = TOP + rows.length * ROW + 12;
  const one = LEFT + WIDTH / FULL;
  const drawn = rows.map(({ name, ratios }, i) => {
    const y = TOP + i * ROW;
    const bars = (['socket', 'file'] as const).map((subject, at) => {
      const share = ratios[subject];
      return share === undefined ? '' : bar(y + 2 + at * 9, 8, share, COLORS[subject]);
    });
    return `<text x="${LEFT - 8}" y="${y + 13}" text-anchor="end">${escape(name)}</text>${bars.join('')}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${LEFT + WIDTH + 60}" height="${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="8" y="18" font-size="13">Target, as a share of a bare socket server's rate (Node ${escape(node)})</text>`,
    `<text x="8" y="36" fill="${COLORS.socket}">■ socket alone</text>`,
    `<text x="120" y="36" fill="${COLORS.file}">■ socket that reads or writes the same file</text>`,
    `<line x1="${one}" y1="${TOP - 6}" x2="${one}" y2="${height - 8}" stroke="#999"/>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}
