import type { IoError } from '../runtime/ports.ts';

/** What a volume itself says no with; everything else comes from the file. */
export const REFUSED = {
  EFAILED: { code: 'EFAILED', message: 'the volume failed earlier: a sync of its file was lost' },
  EROFS: { code: 'EROFS', message: 'the volume is read-only' },
  ETRUNC: { code: 'ETRUNC', message: 'the file ends before the block' },
  ESHUTDOWN: { code: 'ESHUTDOWN', message: 'the volume is closed' },
  ECANCELED: { code: 'ECANCELED', message: 'stopped before all of it was erased' },
} as const satisfies Record<string, IoError>;
