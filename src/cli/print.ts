/** Output: JSON as nvme-cli has it, or text. */
export interface OutputFlags {
  readonly outputFormat: 'normal' | 'json';
}

/** 128-bit numbers do not fit a JavaScript number; those that do are printed as one. */
const plain = (_key: string, value: unknown): unknown => {
  if (typeof value !== 'bigint') return value;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
};

/** Names come from controllers: what would steer the terminal is not for it. JSON escapes it anyway. */
export const harmless = (text: string): string => text.replace(/[^\P{Cc}\n\t]/gu, '\ufffd');

/** Prints `value` as JSON, or what `normal` makes of it. */
export function print<T>({ outputFormat }: OutputFlags, value: T, normal: (value: T) => string): void {
  const text = outputFormat === 'json' ? JSON.stringify(value, plain, 2) : harmless(normal(value));
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}
