/** The daemon's log on standard error: lines for people, or JSON (pino's own) for machines. */
import { type Logger, pino } from 'pino';
import type { LogFormat, LogLevel } from './log-levels.ts';

export function createLogger(level: LogLevel, format: LogFormat, write: (line: string) => void): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, { write: format === 'json' ? write : (line) => write(asText(line)) });
}

/** `10:11:12.345 warn  connection ends from=10.0.0.7:4711 why="closed by the host"`. */
export function asText(line: string): string {
  const { time, level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const clock = String(time).slice(11, 23);
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${shown(value)}`);
  return `${clock} ${String(level).padEnd(5)} ${String(msg)}${rest.join('')}\n`;
}

/** Quoted where it would not read as one word; line ends never reach the log as such. */
function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=\p{C}]+$/u.test(text) ? text : JSON.stringify(text);
}
