/**
 * The load: commands encoded beforehand over a bare socket, so that it is not the bottleneck. It knows just enough of
 * NVMe/TCP to connect a queue without SQ flow control, where a read is answered by one C2HData PDU.
 */
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { viewOf } from '../src/layout/struct.ts';
import { Connect, ConnectData, PropertySet } from '../src/nvme/fabrics.ts';
import { FABRICS_OPCODE, FabricsType, IoOpcode } from '../src/nvme/opcode.ts';
import { Property } from '../src/nvme/property.ts';
import { ReadWrite, SglId, SqeHead } from '../src/nvme/sqe.ts';
import { ICReq, PduType } from '../src/pdu/pdus.ts';
import type { Load } from './bench.ts';

const load = JSON.parse(process.argv[2]!) as Load;
const CAPSULE = 72;
const DATA = 4096;
const sgl = (id: number, length: number) => ({ length, type: { type: id >> 4, subtype: id & 15 } });

function capsule(sqe: Uint8Array, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const pdu = new Uint8Array(CAPSULE + data.length);
  const view = viewOf(pdu);
  pdu.set([PduType.CapsuleCmd, 0, CAPSULE, data.length > 0 ? CAPSULE : 0]);
  view.setUint32(4, pdu.length, true);
  pdu.set(sqe, 8);
  SqeHead.flags.psdt.set(view, 8, 1);
  pdu.set(data, CAPSULE);
  return pdu;
}

async function replies(socket: Socket, bytes: number): Promise<Buffer> {
  const got: Buffer[] = [];
  for (let length = 0; length < bytes; length += got.at(-1)!.length)
    got.push(((await once(socket, 'data')) as [Buffer])[0]);
  return Buffer.concat(got);
}

async function open(nqn: string, qid: number, cntlid: number): Promise<{ socket: Socket; cntlid: number }> {
  const socket = connect(load.port, '127.0.0.1');
  socket.setNoDelay(true);
  const icreq = ICReq.bytes({ type: PduType.ICReq, hlen: 128, plen: 128 });
  socket.write(icreq);
  await replies(socket, 128);
  const data = ConnectData.bytes({
    hostid: '00000000-0000-4000-8000-000000000002',
    hostnqn: 'nqn.2014-08.org.nvmexpress:bench-host',
    subnqn: nqn,
    cntlid,
  });
  const sqe = Connect.bytes({
    opc: FABRICS_OPCODE,
    fctype: FabricsType.Connect,
    dptr: sgl(SglId.inCapsule, data.length),
    qid,
    sqsize: qid === 0 ? 31 : 255,
    cattr: { disableSqFlow: 1 },
  });
  socket.write(capsule(sqe, data));
  const response = await replies(socket, 24);
  if (response.readUInt16LE(22) !== 0) throw new Error(`Connect: status ${response.readUInt16LE(22) >> 1}`);
  if (qid === 0) {
    socket.write(
      capsule(
        PropertySet.bytes({
          opc: FABRICS_OPCODE,
          fctype: FabricsType.PropertySet,
          ofst: Property.CC,
          value: 0x460001n,
        }),
      ),
    );
    await replies(socket, 24);
  }
  return { socket, cntlid: response.readUInt16LE(8) };
}

async function main(): Promise<void> {
  const sockets: Socket[] = [];
  if (load.nqn === undefined) sockets.push(connect(load.port, '127.0.0.1').setNoDelay(true));
  else {
    const admin = await open(load.nqn, 0, 0xffff);
    sockets.push(admin.socket, (await open(load.nqn, 1, admin.cntlid)).socket);
  }
  const socket = sockets.at(-1)!;
  const { depth, blocks, write } = load;
  const opc = write ? IoOpcode.Write : IoOpcode.Read;
  const request = (cid: number): Uint8Array => {
    const dptr = sgl(write ? SglId.inCapsule : SglId.transport, DATA);
    return capsule(
      ReadWrite.bytes({ opc, cid, nsid: 1, nlb: 1, dptr }),
      write ? new Uint8Array(DATA).fill(cid) : undefined,
    );
  };
  const requests = Array.from({ length: depth }, (_, cid) => request(cid));
  const size = requests[0]!.length;
  const reply = write ? 24 : 24 + DATA;
  // CCCID of C2HData, CID of CapsuleResp.
  const cidAt = write ? 20 : 8;
  let seed = 12345;
  let done = 0;
  let at = 0;
  let cid = 0;
  socket.on('data', (chunk: Buffer) => {
    // One buffer with all the requests that this chunk makes room for.
    const out = Buffer.allocUnsafe(size * (Math.floor((at + chunk.length) / reply) + 1));
    let used = 0;
    let next = 0;
    while (next < chunk.length) {
      const take = Math.min(reply - at, chunk.length - next);
      for (let i = 0; i < 2; i++) {
        const place = next + cidAt + i - at;
        if (place >= next && place < next + take) cid = i === 0 ? chunk[place]! : cid | (chunk[place]! << 8);
      }
      at += take;
      next += take;
      if (at < reply) break;
      at = 0;
      done++;
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      out.set(requests[load.nqn === undefined ? 0 : cid]!, used);
      out.writeUInt32LE((seed >>> 8) % blocks, used + 8 + 40);
      used += size;
    }
    if (used > 0) socket.write(out.subarray(0, used));
  });
  socket.write(Buffer.concat(requests));
  // Warm up, then count.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = done;
  const started = performance.now();
  await new Promise((resolve) => setTimeout(resolve, load.seconds * 1000));
  const rate = ((done - before) * 1000) / (performance.now() - started);
  console.log(JSON.stringify({ rate }));
  for (const each of sockets) each.destroy();
}
await main();
