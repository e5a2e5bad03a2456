// The table is the codec's; it depends on nothing, so the runtime may borrow it against the direction of imports.
// eslint-disable-next-line no-restricted-imports
export { crc32c } from '../pdu/crc32c.ts';
