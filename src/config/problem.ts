/** What is wrong with something that an operator gave, and where. */

/** The path of a value: `['subsystems', 0, 'nqn']`. */
export type Path = readonly (string | number)[];

/** `subsystems[0].namespaces[2].nsid`; the document itself is an empty text. */
export function formatPath(path: Path): string {
  let text = '';
  for (const part of path)
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? part : `.${part}`;
  return text;
}

/** Stable names, as an errno where there is one that says it. */
export type ProblemCode = 'EINVAL' | 'ENOENT' | 'EEXIST' | 'EBUSY' | 'ENOTSUP' | 'ESTALE';

/** `message` is one line for a person and begins with the path, where there is one. */
export class ConfigError extends RangeError {
  override readonly name = 'ConfigError';
  readonly code: ProblemCode;
  /** As `formatPath`; undefined: it is not about one place of a document. */
  readonly path: string | undefined;

  constructor(message: string, options: { readonly code?: ProblemCode; readonly path?: string } = {}) {
    super(message);
    this.code = options.code ?? 'EINVAL';
    this.path = options.path;
  }
}
