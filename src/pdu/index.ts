/** `nvme-tcp/pdu`: the wire codec on its own. */
export * from './pdus.ts';
export { Fes, ProtocolFault, fesName } from './fault.ts';
export { Receiver, type PduHandler } from './receiver.ts';
export { Sender, type Sent } from './sender.ts';
export { crc32c } from '../runtime/crc32c.ts';
