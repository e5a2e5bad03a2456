/** Rows under headings, in columns as wide as they need; a number stands at the right of its column. */
export function table(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const texts = [headings, ...rows.map((row) => row.map(String))];
  const widths = headings.map((_, i) => Math.max(...texts.map((row) => (row[i] ?? '').length)));
  const right = headings.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === 'number'));
  return texts
    .map((row) =>
      row
        .map((text, i) => (right[i] ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
