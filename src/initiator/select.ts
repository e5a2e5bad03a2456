/** Which way an I/O goes: a pure decision over plain data. */

export interface Choice {
  readonly usable: boolean;
}

/**
 * The first path that can be used. None: the I/O fails, because nobody reconnects yet; with reconnecting controllers
 * a third outcome joins these two, to wait.
 */
export function select<P extends Choice>(paths: readonly P[]): P | 'fail' {
  return paths.find((path) => path.usable) ?? 'fail';
}
