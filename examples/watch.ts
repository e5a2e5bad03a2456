/**
 * Follows a discovery service: what it names is connected, now and later, and everything that happens is printed.
 *
 *     npm run build && node dist/examples/watch.js [ADDRESS [PORT]]
 *
 * Without an address it watches a target of its own for a moment.
 */
import { NvmeError, createHost, createTarget } from 'nvme-tcp';

const [address, port = '8009'] = process.argv.slice(2);
const target =
  address === undefined
    ? await createTarget({ listen: ['127.0.0.1:0'], namespaces: [{ memory: '1M' }] })
    : undefined;
const [traddr = '', trsvcid = ''] = target?.addresses[0]?.split(':') ?? [address, port];

const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
const host = createHost();
const changes = host.changes({ signal: stop.signal });
await host.follow({
  traddr,
  trsvcid,
  connect: { ctrl_loss_tmo: -1, delayed_removal_secs: 60 },
  disconnect_after: 300, // seconds after which a controller goes that no log names any more
});

try {
  for await (const change of changes) {
    if (change.kind === 'dropped') {
      console.log(`${change.count} changes were missed`);
      continue;
    }
    const { time, kind, name, what } = change;
    console.log(`${new Date(time).toISOString()} ${name.padEnd(12)} ${kind}: ${what}`);
    if (target !== undefined && kind === 'path changed') break; // its own disk can be used: enough seen
  }
} catch (error) {
  if (!(error instanceof NvmeError && error.code === 'ABORT_ERR')) throw error;
}
await host.close();
await target?.close();
