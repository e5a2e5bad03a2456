/**
 * One disk over two ways: write, read, verify; what is waited for has an end, and errors have names.
 *
 *     npm run build && node dist/examples/disk.js
 */
import { NvmeError, createHost, createTarget } from 'nvme-tcp';

await using target = await createTarget({
  listen: ['127.0.0.1:0', '127.0.0.1:0'],
  namespaces: [{ memory: '64M' }],
});
const [first, second] = target.addresses.map((address) => {
  const [traddr = '', trsvcid = ''] = address.split(':');
  return { traddr, trsvcid };
});

await using host = createHost();
const subsystem = await host.connect({
  ...first!,
  subnqn: target.nqn,
  ways: [second!],
  iopolicy: 'round-robin',
  signal: AbortSignal.timeout(60_000),
});
const disk = subsystem.head(1);
console.log(`${disk.name}: ${disk.blocks} blocks of ${disk.blockSize} bytes over ${disk.paths.length} paths`);

const data = new Uint8Array(256 * disk.blockSize).map((_, i) => i);
await disk.write(8, data, { fua: true });
const read = await disk.read(8, 256, { signal: AbortSignal.timeout(30_000) });
console.log(Buffer.compare(read, data) === 0 ? 'what was written is what is read' : 'it differs');

try {
  await disk.read(disk.blocks, 1);
} catch (error) {
  if (!(error instanceof NvmeError)) throw error;
  console.log(`${error.code}: ${error.message}`); // and error.status, as the specification numbers it
}
