import type { Random } from '../ports.ts';
import { randomBytes } from 'node:crypto';

/** The system's own, fit for secrets. */
export class NodeRandom implements Random {
  bytes(count: number): Uint8Array {
    return randomBytes(count);
  }
}
