/** The log of our own side during a scenario: kept, and shown when the scenario fails. */
import type { Level } from '../../src/runtime/ports.ts';

const KEPT = 2000;

export class Journal {
  readonly level = 'info';
  #lines: string[] = [];

  readonly debug = (fields: object, message: string): void => this.#add('debug', fields, message);
  readonly info = (fields: object, message: string): void => this.#add('info', fields, message);
  readonly warn = (fields: object, message: string): void => this.#add('warn', fields, message);
  readonly error = (fields: object, message: string): void => this.#add('error', fields, message);

  note(text: string): void {
    this.#push(text);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  #add(level: Level, fields: object, message: string): void {
    this.#push(`${level} ${message} ${JSON.stringify(fields)}`);
  }

  #push(text: string): void {
    this.#lines.push(`${new Date().toISOString()} ${text}`);
    if (this.#lines.length > 2 * KEPT) this.#lines = this.#lines.slice(-KEPT);
  }
}
