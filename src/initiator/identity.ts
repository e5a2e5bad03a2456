/**
 * Who this host is: a Host NQN and a Host Identifier, which belong to each other one to one (Linux refuses anything
 * else, and targets take two hosts with one name for the same, or one host with two names for two).
 */
import { hex, uuidBytes } from '../layout/field.ts';
import { UUID_NQN_PREFIX, nqnProblem } from '../nvme/nqn.ts';

/** `hostid` is a UUID in lower case. */
export interface HostIdentity {
  readonly hostnqn: string;
  readonly hostid: string;
}

/** One place that may name the host: options, the contents of /etc/nvme, what was persisted. */
export interface IdentitySource {
  readonly hostnqn?: string | undefined;
  readonly hostid?: string | undefined;
}

/** `problem`: one sentence for a person. */
export type IdentityResult = { readonly identity: HostIdentity } | { readonly problem: string };

const trimmed = (value: string | undefined): string | undefined => {
  const text = value?.trim();
  return text === '' ? undefined : text;
};
const problem = (text: string): IdentityResult => ({ problem: text });
const sameId = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/**
 * What the options say; what they leave out comes from /etc/nvme/hostnqn and hostid, else from what was persisted,
 * else `generated`. An NQN that is made of a UUID brings its host identifier along; for another `derive` makes one,
 * the same each time.
 */
export function resolveIdentity(
  options: IdentitySource,
  etc: IdentitySource,
  persisted: IdentitySource,
  generated: string,
  derive: (hostnqn: string) => string,
): IdentityResult {
  const asked = { hostnqn: trimmed(options.hostnqn), hostid: trimmed(options.hostid) };
  // A place that names only one half is completed from that half, so that the two never come from different places.
  for (const [place, source] of [
    ['/etc/nvme', etc],
    ['this host’s own', persisted],
  ] as const) {
    const known = complete(trimmed(source.hostnqn), trimmed(source.hostid), derive);
    if (known === undefined) continue;
    if ('problem' in known) {
      // What is there is broken, but nobody asked for it.
      if (asked.hostnqn !== undefined && asked.hostid !== undefined) continue;
      return problem(`${place}: ${known.problem}`);
    }
    const conflict = mismatch(asked, known.identity, place);
    if (conflict !== undefined) return problem(conflict);
    const mine =
      (asked.hostnqn === undefined && asked.hostid === undefined) ||
      asked.hostnqn === known.identity.hostnqn ||
      (asked.hostid !== undefined && sameId(asked.hostid, known.identity.hostid));
    if (mine) return known;
  }
  return complete(asked.hostnqn, asked.hostid, derive) ?? complete(undefined, generated, derive)!;
}

/** A pair out of one or two halves; undefined: out of none. */
function complete(
  hostnqn: string | undefined,
  hostid: string | undefined,
  derive: (hostnqn: string) => string,
): IdentityResult | undefined {
  if (hostnqn === undefined && hostid === undefined) return undefined;
  if (hostid !== undefined && uuidBytes(hostid) === undefined)
    return problem(`hostid ${JSON.stringify(hostid)} is not a UUID`);
  if (hostid !== undefined && /^[0-]+$/.test(hostid)) return problem('hostid is all zero');
  if (hostnqn === undefined) {
    const id = hostid!.toLowerCase();
    return { identity: { hostnqn: UUID_NQN_PREFIX + id, hostid: id } };
  }
  const bad = nqnProblem(hostnqn);
  if (bad !== undefined) return problem(`hostnqn ${bad}`);
  if (hostid !== undefined) return { identity: { hostnqn, hostid: hostid.toLowerCase() } };
  const inside = hostnqn.startsWith(UUID_NQN_PREFIX) ? hostnqn.slice(UUID_NQN_PREFIX.length) : '';
  return { identity: { hostnqn, hostid: uuidBytes(inside) ? inside.toLowerCase() : derive(hostnqn) } };
}

/** The 1:1 rule between what is asked for and a pair that is known. */
function mismatch(
  asked: { hostnqn: string | undefined; hostid: string | undefined },
  known: HostIdentity,
  where: string,
): string | undefined {
  if (asked.hostnqn === undefined || asked.hostid === undefined) return undefined;
  const sameNqn = asked.hostnqn === known.hostnqn;
  const sameHostid = sameId(asked.hostid, known.hostid);
  if (sameNqn === sameHostid) return undefined;
  return sameNqn
    ? `hostnqn ${asked.hostnqn} belongs to hostid ${known.hostid} (${where}), not to ${asked.hostid}: one NQN, one ID`
    : `hostid ${asked.hostid} belongs to hostnqn ${known.hostnqn} (${where}), not to ${asked.hostnqn}: one NQN, one ID`;
}

/** The identities that one process connects as: two that share a half are refused, as Linux does. */
export class Identities {
  readonly #users = new Map<string, { readonly identity: HostIdentity; count: number }>();

  /** Why the pair cannot be used beside those in use; undefined: it can, and is in use now until `release`. */
  use(identity: HostIdentity): string | undefined {
    for (const { identity: known } of this.#users.values()) {
      const conflict = mismatch(identity, known, 'in use by another connection');
      if (conflict !== undefined) return conflict;
    }
    const user = this.#users.get(identity.hostnqn);
    if (user !== undefined) user.count++;
    else this.#users.set(identity.hostnqn, { identity, count: 1 });
    return undefined;
  }

  release(identity: HostIdentity): void {
    const user = this.#users.get(identity.hostnqn);
    if (user !== undefined && --user.count === 0) this.#users.delete(identity.hostnqn);
  }

  get size(): number {
    return this.#users.size;
  }
}

/** A random UUID (RFC 9562, version 4) out of 16 random bytes. */
export function uuidOf(random: Uint8Array): string {
  const bytes = Uint8Array.from(random.subarray(0, 16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
