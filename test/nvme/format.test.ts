import t from 'tap';
import { viewOf } from '../../src/layout/struct.ts';
import { Conversation } from '../../src/nvme/conversation.ts';
import { Cqe } from '../../src/nvme/cqe.ts';
import { Connect, ConnectData, ConnectResponse, PropertySet } from '../../src/nvme/fabrics.ts';
import { commandKind, formatCqe, formatPdu, formatSqe } from '../../src/nvme/format.ts';
import { FABRICS_OPCODE, FabricsType } from '../../src/nvme/opcode.ts';
import { GetLogPage, Identify, ReadWrite, SetFeatures, Sqe } from '../../src/nvme/sqe.ts';
import { CapsuleCmd, CapsuleResp, H2CTermReq, PduType } from '../../src/pdu/index.ts';
import { CAPTURES, captured } from '../vectors/vectors.ts';

const transport = { address: 0, length: 4096, type: { type: 5, subtype: 10 } };
const inCapsule = { address: 0, length: 512, type: { type: 0, subtype: 1 } };
const sqe = (admin: boolean, bytes: Uint8Array): string => formatSqe(admin, viewOf(bytes));

t.test('commands', (t) => {
  const read = ReadWrite.bytes({
    opc: 2,
    cid: 7,
    nsid: 1,
    slba: 8,
    nlb: 8,
    dptr: transport,
    cdw12: { fua: 1 },
  });
  t.equal(sqe(false, read), 'Read cid 7, nsid 1, slba 8, nlb 8, cdw12 fua, 4096 bytes in transport');
  const write = ReadWrite.bytes({
    opc: 1,
    flags: { fuse: 2, psdt: 1 },
    cid: 7,
    nsid: 1,
    nlb: 1,
    dptr: inCapsule,
  });
  t.equal(sqe(false, write), 'Write cid 7, fused second, nsid 1, nlb 1, 512 bytes in the capsule');
  t.equal(
    sqe(true, Identify.bytes({ opc: 6, cid: 1, cns: 1, dptr: transport })),
    'Identify cid 1, cns 1h Controller, 4096 bytes in transport',
  );
  t.equal(sqe(true, Identify.bytes({ opc: 6, cid: 1, cns: 0x99 })), 'Identify cid 1, cns 99h CNS 99h');
  t.equal(
    sqe(true, GetLogPage.bytes({ opc: 2, cid: 1, lid: 0xc, cdw10: { rae: 1 }, numdl: 3 })),
    'Get Log Page cid 1, lid ch Asymmetric Namespace Access, 16 bytes, cdw10 rae',
  );
  t.equal(
    sqe(true, SetFeatures.bytes({ opc: 9, cid: 1, fid: 7, cdw11: 0x00030001 })),
    'Set Features cid 1, fid 7h Number of Queues, nsq 2, ncq 4',
  );
  t.equal(
    sqe(
      true,
      PropertySet.bytes({
        opc: FABRICS_OPCODE,
        fctype: FabricsType.PropertySet,
        cid: 1,
        ofst: 0x14,
        value: 0x460001n,
      }),
    ),
    'Property Set cid 1, CC 460001h (cc en iosqes=6 iocqes=4)',
  );
  t.equal(sqe(true, Sqe.bytes({ opc: 0xc1, cid: 1, cdw10: 5 })), 'opcode c1h cid 1, cdw10 5');
  t.end();
});

t.test('completions', (t) => {
  const kind = commandKind(true, viewOf(SetFeatures.bytes({ opc: 9, fid: 7 })));
  t.equal(
    formatCqe(viewOf(Cqe.bytes({ cid: 3, sqhd: 4, dw0: 0x00010002 })), 0, kind),
    'Set Features cid 3 Success (000h), sqhd 4, nsq 3, ncq 2',
  );
  t.match(
    formatCqe(viewOf(Cqe.bytes({ cid: 3, status: (0x4000 | 0x80) << 1 }))),
    /^cid 3 .*\(080h, DNR\), sqhd 0$/,
  );
  const aer = commandKind(true, viewOf(Sqe.bytes({ opc: 0xc })));
  t.match(formatCqe(viewOf(Cqe.bytes({ dw0: 0x0c0302 })), 0, aer), /Notice: Ana Change/);
  t.end();
});

t.test('PDUs, and what is no PDU', (t) => {
  t.equal(formatPdu(viewOf(new Uint8Array(7))), '7 bytes, less than a PDU header');
  t.match(formatPdu(viewOf(Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0))), /^PDU type 8h: 08000000/);
  t.match(formatPdu(viewOf(Uint8Array.of(4, 0, 72, 0, 72, 0, 0, 0))), /^CapsuleCmd: 8 of 72 header bytes/);
  t.equal(
    formatPdu(viewOf(H2CTermReq.bytes({ type: 2, hlen: 24, plen: 24, fes: 1, fei: 0x10 }))),
    'H2CTermReq 24 bytes Invalid PDU Header Field, fei 10h',
  );
  t.end();
});

t.test('a conversation learns the queue from Connect and the meaning of completions from commands', (t) => {
  const talk = new Conversation();
  const capsule = (command: Uint8Array): DataView =>
    viewOf(CapsuleCmd.bytes({ type: PduType.CapsuleCmd, hlen: 72, plen: 72, sqe: command }));
  const answer = (cqe: Uint8Array): DataView =>
    viewOf(CapsuleResp.bytes({ type: PduType.CapsuleResp, hlen: 24, plen: 24, cqe }));
  const connect = Connect.bytes({
    opc: FABRICS_OPCODE,
    fctype: FabricsType.Connect,
    cid: 9,
    qid: 3,
    sqsize: 127,
  });
  const data = ConnectData.bytes({ subnqn: 'nqn.a', hostnqn: 'nqn.b' });
  t.match(talk.pdu(PduType.CapsuleCmd, capsule(connect), data), [
    /Connect cid 9, qid 3/,
    /subnqn "nqn.a", hostnqn "nqn.b"/,
  ]);
  t.match(talk, { qid: 3, admin: false, subnqn: 'nqn.a', hostnqn: 'nqn.b' });
  t.match(
    talk.pdu(PduType.CapsuleResp, answer(ConnectResponse.bytes({ cid: 9, cntlid: 5 })), new Uint8Array(0)),
    [/Connect cid 9 .*cntlid 5/],
  );
  t.equal(talk.commandOf(9), undefined, 'the CID is free again');
  t.match(
    talk.pdu(PduType.CapsuleCmd, capsule(Sqe.bytes({ opc: 2, cid: 9 })), new Uint8Array(0)),
    [/Read cid 9/],
    'an I/O queue',
  );
  t.end();
});

t.test('captured traffic reads well', (t) => {
  for (const name of CAPTURES) {
    const talks = new Map<number, Conversation>();
    for (const { connection, bytes } of captured(name)) {
      const talk = talks.get(connection) ?? new Conversation();
      talks.set(connection, talk);
      const header = viewOf(bytes);
      const pdo = bytes[3]!;
      for (const line of talk.pdu(bytes[0]!, header, pdo === 0 ? new Uint8Array(0) : bytes.subarray(pdo)))
        if (/undefined|NaN|\[object|opcode|rsvd\d+ [^0]/.test(line)) t.fail(line);
    }
    t.same(
      [...talks.values()].map(({ qid }) => qid),
      [0, 0, 1, 0, 1].slice(0, talks.size),
      name,
    );
  }
  t.end();
});
