import t from 'tap';
import { viewOf } from '../../src/layout/struct.ts';
import { decodeAnaLog, encodeAnaLog } from '../../src/nvme/ana-log.ts';
import { Conversation, dataLayouts } from '../../src/nvme/conversation.ts';
import { cqeLayout, sqeLayout, type Layout } from '../../src/nvme/format.ts';
import {
  decodeNamespaceIds,
  decodeNsidList,
  encodeNamespaceIds,
  encodeNsidList,
} from '../../src/nvme/identify-lists.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { LogId } from '../../src/nvme/logs.ts';
import { AdminOpcode, FABRICS_OPCODE } from '../../src/nvme/opcode.ts';
import { Cqe } from '../../src/nvme/cqe.ts';
import { CommonHeader, Flag, ICReq, PDUS, PduType } from '../../src/pdu/index.ts';
import type { Role } from '../../src/pdu/pdus.ts';
import { configure, listen, speaker } from '../pdu/rig.ts';
import { CAPTURES, captured, connections, type CapturedPdu } from './vectors.ts';

const flagsOf = (bytes: Uint8Array): number => bytes[1] ?? 0;
const sentBy = (role: Role, pdus: readonly CapturedPdu[]): Uint8Array[] =>
  pdus.filter((pdu) => pdu.role === role).map(({ bytes }) => bytes);
const optionsOf = (pdus: readonly CapturedPdu[]) => {
  const request = viewOf(pdus[0]!.bytes);
  return {
    headerDigest: ICReq.dgst.hdgst.get(request, 0) === 1,
    dataDigest: ICReq.dgst.ddgst.get(request, 0) === 1,
  };
};

/** Decodes and encodes; the bytes must come back. */
function same(layout: Layout, bytes: Uint8Array, at: number): boolean {
  const part = bytes.slice(at, at + layout.size);
  return Buffer.compare(layout.bytes(layout.decode(viewOf(bytes), at)), part) === 0;
}

for (const name of CAPTURES) {
  const conversations = connections(captured(name));

  t.test(`${name}: every header, command, completion and structure comes back byte for byte`, (t) => {
    const seen = new Map<string, number>();
    const check = (layout: Layout, bytes: Uint8Array, at: number): void => {
      seen.set(layout.structName, (seen.get(layout.structName) ?? 0) + 1);
      if (!same(layout, bytes, at)) t.fail(`${layout.structName}: ${Buffer.from(bytes).toString('hex')}`);
    };
    for (const pdus of conversations) {
      const conversation = new Conversation();
      for (const { bytes, role } of pdus) {
        const view = viewOf(bytes);
        const info = PDUS[CommonHeader.type.get(view, 0)];
        if (info?.sentBy !== role) throw new Error(`a ${String(info?.name)} from a ${role}`);
        check(info.layout as unknown as Layout, bytes, 0);
        const pdo = CommonHeader.pdo.get(view, 0);
        const end = bytes.length - (flagsOf(bytes) & Flag.ddgst ? 4 : 0);
        const data = pdo === 0 || !info.data ? new Uint8Array(0) : bytes.slice(pdo, end);
        if (info.type === PduType.CapsuleResp) {
          const command = conversation.commandOf(Cqe.cid.get(view, 8));
          if (command === undefined) t.fail('a completion without a command');
          check(cqeLayout(command, Cqe.status.get(view, 8) >>> 1), bytes, 8);
        }
        const lines = conversation.pdu(info.type, view, data);
        if (lines.some((line) => line.includes('undefined'))) t.fail(lines.join('\n'));
        if (info.type === PduType.CapsuleCmd) {
          const command = conversation.commandOf(view.getUint16(10, true));
          if (command !== undefined) check(sqeLayout(command), bytes, 8);
        }
        const cid = view.getUint16(info.type === PduType.CapsuleCmd ? 10 : 8, true);
        const command = data.length > 0 ? conversation.commandOf(cid) : undefined;
        if (command === undefined) continue;
        for (const { layout, at } of dataLayouts(command, data)) check(layout, data, at);
        if (!command.admin || command.opcode === FABRICS_OPCODE) continue;
        const { opcode, page } = command;
        let again: Uint8Array | undefined;
        if (opcode === AdminOpcode.Identify && page === Cns.ActiveNamespaces)
          again = encodeNsidList(decodeNsidList(data));
        if (opcode === AdminOpcode.Identify && page === Cns.NamespaceDescriptors)
          again = encodeNamespaceIds({ ...decodeNamespaceIds(data) });
        if (opcode === AdminOpcode.GetLogPage && page === LogId.Ana && data.length > 16) {
          again = encodeAnaLog(decodeAnaLog(data, { anagrpmax: 128, nn: 1024 }), false);
          again = Buffer.concat([again, new Uint8Array(data.length - again.length)]);
        }
        if (again === undefined) continue;
        seen.set(`list ${opcode} ${page}`, 1);
        // nvmet puts the UUID first and the CSI last; so do we, and its list is what we would send.
        if (Buffer.compare(again, data) !== 0)
          t.fail(`list ${opcode} ${page}: ${Buffer.from(data).toString('hex')}`);
      }
    }
    for (const expected of [
      'ICReq',
      'ICResp',
      'CapsuleCmd',
      'CapsuleResp',
      'H2CData',
      'C2HData',
      'R2T',
      'Connect',
      'ConnectData',
      'ConnectResponse',
      'PropertyGet',
      'PropertyGetResponse',
      'PropertySet',
      'IdController',
      'IdNamespace',
      'NvmIdController',
      'DiscoveryHeader',
      'DiscoveryEntry',
      'CommandEffectsLog',
      'SmartLog',
      'AnaLogHeader',
      'AnaGroupDescriptor',
      'ReadWrite',
      'Flush',
      'DatasetManagement',
      'DsmRange',
      'SetFeatures',
      'AsyncEventRequest',
      'KeepAlive',
      'Cqe',
      'list 6 2',
      'list 6 3',
      'list 2 12',
    ])
      t.ok(seen.has(expected), `${expected}: ${seen.get(expected) ?? 0}`);
    t.end();
  });

  t.test(`${name}: as a stream, split at every byte and anywhere`, (t) => {
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (const pdus of conversations)
      for (const role of ['host', 'controller'] as const) {
        const sent = sentBy(role, pdus);
        const stream = Buffer.concat(sent);
        const options = optionsOf(pdus);
        const { receiver, pdus: got } = listen(role, options);
        receiver.maxCapsuleData = 16384;
        let at = 0;
        for (; at < Math.min(stream.length, 6000); at++) receiver.push(stream.subarray(at, at + 1));
        while (at < stream.length) {
          const end = at + 1 + random(random(8) === 0 ? 20000 : 200);
          receiver.push(stream.subarray(at, end));
          at = end;
        }
        t.equal(got.length, sent.length, `connection ${pdus[0]!.connection}, ${role}`);
        t.ok(got.every(({ digestOk }) => digestOk));
        t.ok(got.every(({ header }, i) => Buffer.compare(header, sent[i]!.subarray(0, header.length)) === 0));
      }
    t.end();
  });

  t.test(`${name}: sent again, the same bytes`, (t) => {
    for (const pdus of conversations)
      for (const role of ['host', 'controller'] as const) {
        const sent = sentBy(role, pdus);
        const options = optionsOf(pdus);
        const { receiver, pdus: got } = listen(role, options);
        receiver.maxCapsuleData = 16384;
        for (const bytes of sent) receiver.push(bytes);
        const { sender, transport } = speaker();
        got.forEach(({ type, header, data }, i) => {
          if (type > PduType.ICResp) configure(sender, options);
          const at = sender.begin(type, (header[1] ?? 0) & ~(Flag.hdgst | Flag.ddgst), data.length);
          new Uint8Array(sender.view.buffer, at + 8, header.length - 8).set(header.subarray(8));
          sender.end([data]);
          sender.flush();
          const made = transport.writes[i]!;
          if (Buffer.compare(made, sent[i]!) !== 0)
            t.fail(
              `PDU ${i}:\n${made.toString('hex', 0, 160)}\n${Buffer.from(sent[i]!).toString('hex', 0, 160)}`,
            );
        });
        t.equal(transport.writes.length, sent.length, `connection ${pdus[0]!.connection}, ${role}`);
      }
    t.end();
  });
}
