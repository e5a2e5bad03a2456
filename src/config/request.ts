/** What a program, a flag or the control socket may ask to be exported. */
import { type Check, eui64Problem, nguidProblem, uuidProblem } from './checks.ts';
import { ANA_GROUPS, BLOCK_SIZES } from './document.ts';
import { ConfigError } from './problem.ts';
import { formatSize, parseSize } from './units.ts';
import { nqnProblem } from '../nvme/nqn.ts';

interface Common {
  /** 512 (the default) or 4096. */
  readonly blockSize?: number | undefined;
  /** The lowest free one when it is not given. */
  readonly nsid?: number | undefined;
  readonly uuid?: string | undefined;
  /** 32 hexadecimal digits; made from the UUID when it is not given. */
  readonly nguid?: string | undefined;
  /** 16 hexadecimal digits; none when it is not given. */
  readonly eui64?: string | undefined;
  /** ANA group, 1 when it is not given. */
  readonly anagrpid?: number | undefined;
  /** False: only the first host that attaches it may use it, through one controller at a time. */
  readonly shared?: boolean | undefined;
  /** Host NQNs that see it; every one that may connect when it is not given. */
  readonly hosts?: readonly string[] | undefined;
}

/** A regular file or a block device. */
export interface FileNamespace extends Common {
  readonly file: string;
  /** Bytes, or `1G`: makes a sparse file of this size unless there is a file. */
  readonly size?: number | string | undefined;
  readonly readOnly?: boolean | undefined;
}

/** Memory of this process, of so many bytes (or `1G`); its data goes with the namespace. */
export interface MemoryNamespace extends Common {
  readonly memory: number | string;
}

export type NamespaceRequest = FileNamespace | MemoryNamespace;

export const bytesOf = (size: number | string): number =>
  typeof size === 'number' ? size : (parseSize(size) ?? NaN);

/** What can be wrong with a request whatever the disk says. Throws a ConfigError. */
export function checkRequest(request: NamespaceRequest): void {
  const { blockSize = 512, nsid, anagrpid = 1 } = request;
  // Programs in JavaScript have nobody who looks at types.
  const { file, memory } = request as { readonly file?: unknown; readonly memory?: unknown };
  if ((file === undefined) === (memory === undefined))
    throw new ConfigError('a namespace has either file, a path, or memory, its size');
  const name = 'file' in request ? request.file : 'memory';
  const wrong = (problem: string): ConfigError => new ConfigError(`${name}: ${problem}`);
  if (name === '') throw new ConfigError('the path of a file is empty');
  if (!BLOCK_SIZES.includes(blockSize)) throw wrong(`blocks have 512 or 4096 bytes, not ${blockSize}`);
  const size = 'file' in request ? request.size : request.memory;
  if (size !== undefined) {
    const problem = sizeProblem(size, blockSize);
    if (problem !== undefined) throw wrong(problem);
  }
  if (nsid !== undefined && !(Number.isInteger(nsid) && nsid >= 1)) throw wrong(`${nsid} is not an NSID`);
  if (!(Number.isInteger(anagrpid) && anagrpid >= 1 && anagrpid <= ANA_GROUPS))
    throw wrong(`${anagrpid} is not an ANA group; 1 to ${ANA_GROUPS} are`);
  const texts: [string, string | undefined, Check][] = [
    ['the UUID', request.uuid, uuidProblem],
    ['the NGUID', request.nguid, nguidProblem],
    ['the EUI-64', request.eui64, eui64Problem],
    ...(request.hosts ?? []).map((host): [string, string, Check] => ['the host NQN', host, nqnProblem]),
  ];
  for (const [what, text, check] of texts) {
    const problem = text === undefined ? undefined : check(text);
    if (problem !== undefined) throw wrong(`${what} ${problem}`);
  }
}

export function sizeProblem(size: number | string, blockSize: number): string | undefined {
  const bytes = bytesOf(size);
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    return `${JSON.stringify(size)} is not a size; 1G, 512M and 1073741824 are`;
  if (bytes % blockSize !== 0)
    return `${formatSize(bytes)} is not a whole number of ${blockSize}-byte blocks`;
  return undefined;
}
