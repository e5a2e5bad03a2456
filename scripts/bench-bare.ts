/**
 * The yardstick: a socket server that knows nothing of NVMe. For every 72 bytes it answers 24 + 4096; a capsule that
 * says (in its PLEN) that data comes with it is answered with 24.
 */
import { createServer, type AddressInfo } from 'node:net';

const REQUEST = 72;
const header = Buffer.alloc(24);
const data = Buffer.alloc(4096, 1);

const server = createServer((socket) => {
  socket.setNoDelay(true);
  let have = 0;
  let write = false;
  const head = Buffer.alloc(8);
  socket.on('data', (chunk) => {
    socket.cork();
    let at = 0;
    while (at < chunk.length) {
      if (have < 8) {
        const take = Math.min(8 - have, chunk.length - at);
        chunk.copy(head, have, at, at + take);
        have += take;
        at += take;
        if (have < 8) break;
        write = head.readUInt32LE(4) > REQUEST;
      }
      const whole = write ? REQUEST + 4096 : REQUEST;
      const take = Math.min(whole - have, chunk.length - at);
      have += take;
      at += take;
      if (have < whole) break;
      have = 0;
      socket.write(header);
      if (!write) socket.write(data);
    }
    socket.uncork();
  });
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ port: (server.address() as AddressInfo).port }));
});
