/** What comes from outside as JSON, read by a schema: what is wrong is a ConfigError with its path. */
import type { z } from 'zod';
import { ConfigError, type Path, formatPath } from './problem.ts';

/** Levels of lists and objects; no configuration has ten. What walks a value takes a call for each. */
const DEEPEST = 100;

export function parseJson(json: string): unknown {
  if (depthOf(json) > DEEPEST) throw new ConfigError(`more than ${DEEPEST} lists or objects in each other`);
  try {
    return JSON.parse(json) as unknown;
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`not JSON: ${cause}`);
  }
}

/** How many lists and objects are open at once in it, whether it is JSON or not. */
function depthOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let at = 0; at < json.length; at++) {
    const char = json.charAt(at);
    if (inText && char === '\\') at++;
    else if (char === '"') inText = !inText;
    else if (!inText && (char === '[' || char === '{')) deepest = Math.max(deepest, ++depth);
    else if (!inText && (char === ']' || char === '}')) depth--;
  }
  return deepest;
}

/** What the schema makes of `value`. Throws a ConfigError about the first thing that is wrong. */
export function checked<T>(schema: z.ZodType<T>, value: unknown, what = 'the document'): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue === undefined) throw new ConfigError(`${what} is wrong`);
  const { path, problem } = explained(issue, value);
  const place = formatPath(path);
  throw new ConfigError(`${place || what} ${problem}`, { path: place });
}

function explained(issue: z.core.$ZodIssue, root: unknown): { path: Path; problem: string } {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  const value = valueAt(root, path);
  // A key that is not known is a misspelled one, or of a later version: either way not to be lost silently.
  if (issue.code === 'unrecognized_keys')
    return { path: [...path, ...issue.keys.slice(0, 1)], problem: 'is not known' };
  if (value === undefined) return { path, problem: 'is missing' };
  if (issue.code === 'custom') return { path, problem: issue.message };
  if (issue.code === 'invalid_type')
    return { path, problem: TYPES[issue.expected] ?? `cannot be ${shown(value)}` };
  if (issue.code === 'invalid_value')
    return {
      path,
      problem: `cannot be ${shown(value)}; ${issue.values.map((each) => JSON.stringify(each)).join(', ')} can`,
    };
  if (issue.code === 'too_small' && issue.origin !== 'array')
    return { path, problem: `cannot be ${shown(value)}, at least ${String(issue.minimum)}` };
  if (issue.code === 'too_big' && issue.origin !== 'array')
    return { path, problem: `cannot be ${shown(value)}, at most ${String(issue.maximum)}` };
  return { path, problem: `cannot be ${shown(value)}` };
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'is not a text',
  boolean: 'is neither true nor false',
  array: 'is not a list',
  tuple: 'is not a list',
  object: 'is not an object',
};

function shown(value: unknown): string {
  const json = JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 60)}…` : json;
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[part];
  }
  return value;
}
