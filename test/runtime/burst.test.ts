/** A connection that sends much does not keep the loop to itself. */
import { nodeEnv } from '../../src/runtime/node/env.ts';
import t from 'tap';

const MIB = 2 ** 20;

for (const chunksAreLent of [false, true])
  t.test(
    `between two turns of the loop a connection brings no more than 1 MiB (lent: ${chunksAreLent})`,
    (t) => {
      const env = nodeEnv();
      const all = 32 * MIB;
      let received = 0;
      let turn = 0;
      let most = 0;
      const count = (chunk: Uint8Array): void => {
        if (turn === 0) setImmediate(() => (turn = 0));
        turn += chunk.length;
        received += chunk.length;
        most = Math.max(most, turn);
      };
      env.net.listen(
        { host: '127.0.0.1', port: 0 },
        (server) => {
          server.start({ data: () => undefined, end: () => server.close(), closed: () => undefined });
          const parts = Array.from({ length: 32 }, () => new Uint8Array(MIB));
          server.write(parts, () => server.end());
        },
        (_error, listener) => {
          env.net.connect({ to: listener!.address, chunksAreLent }, (_refused, client) => {
            client!.start({
              data: count,
              end: () => client!.close(),
              closed: () => {
                listener!.close(() => {
                  t.equal(received, all);
                  t.ok(most <= MIB, `${most} bytes`);
                  t.end();
                });
              },
            });
          });
        },
      );
    },
  );
