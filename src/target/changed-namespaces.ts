/** Changed Attached Namespace List (LID 04h) of one controller: what changed since the host read it last. */
import { encodeNsidList, MAX_NSID_LIST } from '../nvme/identify-lists.ts';
import { CHANGED_OVERFLOW } from '../nvme/logs.ts';

export class ChangedNamespaces {
  readonly #nsids = new Set<number>();

  add(nsid: number): void {
    if (this.#nsids.size <= MAX_NSID_LIST) this.#nsids.add(nsid);
  }

  clear(): void {
    this.#nsids.clear();
  }

  /** The log as it is now: more than 1024 changes become one entry, FFFFFFFFh. */
  encode(): Uint8Array {
    if (this.#nsids.size > MAX_NSID_LIST) return encodeNsidList([CHANGED_OVERFLOW]);
    return encodeNsidList([...this.#nsids].sort((a, b) => a - b));
  }
}
