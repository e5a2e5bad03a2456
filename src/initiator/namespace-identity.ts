/**
 * Which head a namespace belongs to that a controller shows: a pure decision, with Linux's rules and its words. A
 * *known* head here is one with the same NSID in the same subsystem, or with the same UUID, NGUID or EUI-64 anywhere.
 * The first row that fits decides:
 *
 *      | a known head …                                                             | the namespace      |
 *      |----------------------------------------------------------------------------|--------------------|
 *      | same subsystem, same identity and block size, has no path (HEAD.4, HEAD.8) | joins it           |
 *      | other subsystem, has paths                                                 | is refused         |
 *      | same identity, has paths; this controller's among them                     | is refused         |
 *      | same identity, both shared, another block size                             | is refused         |
 *      | same identity, both shared                                                 | joins it           |
 *      | same identity, not shared, it has identifiers                              | is refused         |
 *      | same NSID, another identity, has paths, NSIDs are unique                   | is refused         |
 *      | another NSID, has paths                                                    | is refused         |
 *      | anything else (HEAD.7)                                                     | gets its own       |
 */
import { type NamespaceInfo, sameIdentity } from './namespace.ts';

/** What the decision knows of a head. */
export interface KnownHead {
  readonly name: string;
  readonly info: NamespaceInfo;
  readonly sameSubsystem: boolean;
  /** Its paths say that it is shared. Without paths: as the last one said. */
  readonly shared: boolean;
  readonly paths: number;
  /** One of them goes through the controller that shows the namespace. */
  readonly viaThis: boolean;
}

export type Place<H> = { readonly join: H } | 'own head' | { readonly refuse: string };

const hasIds = ({ uuid, nguid, eui64 }: NamespaceInfo): boolean =>
  uuid !== undefined || nguid !== undefined || eui64 !== undefined;

/** `nsidUnique`: an NSID means the same namespace to every controller of the subsystem. */
export function place<H extends KnownHead>(
  info: NamespaceInfo,
  nsidUnique: boolean,
  known: readonly H[],
): Place<H> {
  const same = ({ sameSubsystem, info: other }: H): boolean => sameSubsystem && sameIdentity(other, info);
  const waiting = known.find(
    (head) => head.paths === 0 && same(head) && head.info.blockSize === info.blockSize,
  );
  if (waiting !== undefined) return { join: waiting };
  const live = known.filter(({ paths }) => paths > 0);
  const elsewhere = live.find(({ sameSubsystem }) => !sameSubsystem);
  if (elsewhere !== undefined)
    return { refuse: `duplicate IDs: ${elsewhere.name} of another subsystem has them` };
  const twin = live.find(same);
  if (twin !== undefined) {
    if (twin.viaThis) return { refuse: `duplicate IDs: ${twin.name} has them` };
    if (info.shared && twin.shared)
      return twin.info.blockSize === info.blockSize
        ? { join: twin }
        : { refuse: `its block size is ${info.blockSize}, ${twin.name} has ${twin.info.blockSize}` };
    return hasIds(info) ? { refuse: `duplicate unshared namespace: ${twin.name} is it` } : 'own head';
  }
  const namesake = live.find((head) => head.info.nsid === info.nsid);
  if (namesake !== undefined && nsidUnique)
    return { refuse: `IDs do not match for shared namespace ${info.nsid}, which is ${namesake.name}` };
  const other = live.find((head) => head.info.nsid !== info.nsid);
  if (other !== undefined) return { refuse: `duplicate IDs: ${other.name} has them` };
  return 'own head';
}

/** The identifiers of a namespace, as keys. */
export function idKeys({ uuid, nguid, eui64 }: NamespaceInfo): string[] {
  const keys: string[] = [];
  if (uuid !== undefined) keys.push(`uuid ${uuid}`);
  if (nguid !== undefined) keys.push(`nguid ${nguid}`);
  if (eui64 !== undefined) keys.push(`eui64 ${eui64}`);
  return keys;
}

/** Heads by the identifiers of their namespaces, over all subsystems of a host. */
export class HeadsById<H> {
  readonly #heads = new Map<string, Set<H>>();

  get size(): number {
    return this.#heads.size;
  }

  add(info: NamespaceInfo, head: H): void {
    for (const key of idKeys(info)) {
      const known = this.#heads.get(key);
      if (known === undefined) this.#heads.set(key, new Set([head]));
      else known.add(head);
    }
  }

  remove(info: NamespaceInfo, head: H): void {
    for (const key of idKeys(info)) {
      const known = this.#heads.get(key);
      known?.delete(head);
      if (known?.size === 0) this.#heads.delete(key);
    }
  }

  /** Those that share at least one identifier with it. */
  of(info: NamespaceInfo): Set<H> {
    const found = new Set<H>();
    for (const key of idKeys(info)) for (const head of this.#heads.get(key) ?? []) found.add(head);
    return found;
  }
}
