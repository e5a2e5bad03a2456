import t from 'tap';
import { C2HData, CapsuleCmd, Flag, H2CData, PDUS, PduType } from '../../src/pdu/index.ts';
import { AssertionFailure } from '../../src/runtime/assert.ts';
import type { Sender } from '../../src/pdu/sender.ts';
import { Waiter, listen, pattern, speaker } from './rig.ts';

/** One of each PDU that `role` sends, with data of `length` where there may be some. */
function sendAll(sender: Sender, role: 'host' | 'controller', length: number): void {
  for (const info of PDUS) {
    if (info?.sentBy !== role || info.type <= PduType.C2HTermReq) continue;
    const data =
      info.data && length > 0
        ? [pattern(length).subarray(0, length >>> 1), pattern(length).subarray(length >>> 1)]
        : undefined;
    const at = sender.begin(info.type, Flag.last, data === undefined ? 0 : length);
    sender.view.setUint16(at + 8, 0x1234, true);
    if (data !== undefined && info.type !== PduType.CapsuleCmd) H2CData.datal.set(sender.view, at, length);
    sender.end(data);
  }
}

t.test('what a sender sends, a receiver receives, with every alignment and digest', (t) => {
  for (const role of ['host', 'controller'] as const)
    for (const headerDigest of [false, true])
      for (const dataDigest of [false, true])
        for (let pda = 0; pda < 32; pda++) {
          const options = { headerDigest, dataDigest, pda };
          const { sender, transport } = speaker(options);
          const { receiver, pdus } = listen(role, options);
          sender.headerDigest = sender.dataDigest = false;
          sender.begin(role === 'host' ? PduType.ICReq : PduType.ICResp, 0, 0);
          sender.end();
          sender.headerDigest = headerDigest;
          sender.dataDigest = dataDigest;
          const lengths = [0, 1, 3, 512, 4096];
          for (const length of lengths) sendAll(sender, role, length);
          sender.flush();
          receiver.push(transport.all);
          const good = pdus.every(
            (pdu) =>
              pdu.digestOk &&
              (pdu.data.length === 0 || Buffer.compare(pdu.data, pattern(pdu.data.length)) === 0),
          );
          const kinds = role === 'host' ? 2 : 3;
          if (!good || pdus.length !== 1 + kinds * lengths.length || receiver.midPdu)
            t.fail(JSON.stringify({ role, ...options, pdus: pdus.length }));
        }
  t.pass('256 combinations');
  t.end();
});

t.test('the header: lengths, PDO and flags', (t) => {
  const { sender, transport } = speaker({ headerDigest: true, dataDigest: true, pda: 3 });
  sender.begin(PduType.CapsuleCmd, 0, 512);
  sender.end([pattern(512)]);
  sender.begin(PduType.CapsuleCmd, 0, 0);
  sender.end();
  sender.begin(PduType.C2HData, Flag.last | Flag.success, 4);
  sender.end([pattern(4)]);
  sender.begin(PduType.H2CTermReq, 0, 72);
  sender.end([pattern(72)]);
  sender.flush();
  const view = new DataView(transport.all.buffer, transport.all.byteOffset);
  t.match(CapsuleCmd.decode(view, 0), {
    flags: { hdgstf: 1, ddgstf: 1 },
    hlen: 72,
    pdo: 80,
    plen: 80 + 512 + 4,
  });
  t.match(CapsuleCmd.decode(view, 596), { flags: { hdgstf: 1, ddgstf: 0 }, hlen: 72, pdo: 0, plen: 76 });
  t.match(C2HData.decode(view, 672), {
    flags: { hdgstf: 1, ddgstf: 1, last: 1, success: 1 },
    hlen: 24,
    pdo: 32,
    plen: 40,
  });
  t.match(CapsuleCmd.decode(view, 712), {
    type: 2,
    flags: { hdgstf: 0, ddgstf: 0 },
    hlen: 24,
    pdo: 0,
    plen: 96,
  });
  t.equal(transport.all.length, 712 + 96);
  t.end();
});

t.test('one write per turn, neighbours in one part, payload not copied', (t) => {
  const { sender, transport, clock } = speaker();
  const payload = pattern(4096);
  const parts: number[][] = [];
  transport.write = (given) => void parts.push(given.map((part) => part.length));
  sender.begin(PduType.R2T, 0, 0);
  sender.end();
  sender.begin(PduType.C2HData, 0, 4096);
  sender.end([payload.subarray(0, 4000), new Uint8Array(0), payload.subarray(4000)]);
  sender.begin(PduType.CapsuleResp, 0, 0);
  sender.end();
  t.same(parts, [], 'nothing leaves before the end of the turn');
  t.equal(clock.deferred.length, 1);
  clock.turn();
  t.same(parts, [[48, 4000, 96, 24]]);
  sender.hold = true;
  sender.begin(PduType.R2T, 0, 0);
  sender.end();
  t.equal(clock.deferred.length, 0, 'held: whoever holds flushes');
  t.equal(sender.pending, 48 + 4096 + 24 + 24);
  sender.flush();
  sender.flush();
  t.equal(parts.length, 2, 'nothing to say, nothing written');
  t.end();
});

t.test('more headers than a slab holds', (t) => {
  const { sender, transport } = speaker();
  for (let cid = 0; cid < 1000; cid++) {
    const at = sender.begin(PduType.CapsuleResp, 0, 0);
    sender.view.setUint16(at + 20, cid, true);
    sender.end();
  }
  sender.flush();
  const view = new DataView(transport.all.buffer, transport.all.byteOffset);
  const cids = Array.from({ length: 1000 }, (_, i) => view.getUint16(24 * i + 20, true));
  t.same(
    cids,
    Array.from({ length: 1000 }, (_, i) => i),
  );
  t.equal(transport.all.length, 24000);
  t.end();
});

t.test('the payload must be as long as announced', (t) => {
  const { sender } = speaker();
  sender.begin(PduType.C2HData, 0, 8);
  t.throws(() => sender.end([pattern(7)]), AssertionFailure);
  const other = speaker().sender;
  other.begin(PduType.C2HData, 0, 8);
  t.throws(() => other.end(), AssertionFailure);
  t.end();
});

t.test('backlog, notify and onDrain', (t) => {
  const { sender, transport, clock } = speaker();
  let drained = 0;
  sender.onDrain = () => {
    drained++;
  };
  const [first, second, third, alone] = [new Waiter(), new Waiter(), new Waiter(), new Waiter()];
  sender.begin(PduType.R2T, 0, 0);
  sender.end();
  sender.notify(first);
  t.equal(sender.pending, 24);
  t.equal(sender.backlog, 0);
  sender.flush();
  t.equal(sender.backlog, 24);
  t.equal(first.calls, 0, 'not before the socket has it');
  sender.notify(second);
  sender.flush();
  t.equal(second.calls, 0, 'what is on its way has not left yet');
  sender.begin(PduType.R2T, 0, 0);
  sender.end();
  sender.notify(third);
  sender.flush();
  t.equal(sender.backlog, 48);
  transport.untaken.shift()?.();
  t.same([first.calls, second.calls, third.calls, sender.backlog, drained], [1, 1, 0, 24, 1]);
  transport.takeAll();
  t.same([first.calls, second.calls, third.calls, sender.backlog, drained], [1, 1, 1, 0, 2]);
  sender.notify(alone);
  clock.turn();
  t.equal(alone.calls, 1, 'nothing is on its way: at the end of the turn');
  t.end();
});

t.test('a transport that takes everything at once', (t) => {
  const { sender, transport } = speaker();
  transport.eager = true;
  let more = 3;
  const again = {
    sent(): void {
      if (more-- === 0) return;
      sender.begin(PduType.R2T, 0, 0);
      sender.end();
      sender.notify(again);
      sender.flush();
    },
  };
  again.sent();
  t.equal(transport.all.length, 3 * 24, 'what a callback appends is not lost');
  t.equal(sender.pending, 0);
  t.equal(more, -1);
  t.end();
});

t.test('abandon: everything is dropped, and everybody told once', (t) => {
  const { sender, transport, clock } = speaker();
  const [flying, appended, late] = [new Waiter(), new Waiter(), new Waiter()];
  sender.begin(PduType.R2T, 0, 0);
  sender.end();
  sender.notify(flying);
  sender.flush();
  sender.begin(PduType.C2HData, 0, 8);
  sender.end([pattern(8)]);
  sender.notify(appended);
  sender.abandon();
  t.equal(appended.calls, 1);
  t.equal(flying.calls, 0, 'the transport has those bytes until it says so');
  sender.begin(PduType.C2HData, 0, 8);
  sender.end([pattern(8)]);
  sender.notify(late);
  clock.turn();
  t.equal(late.calls, 1);
  transport.takeAll();
  t.same([flying.calls, appended.calls, late.calls], [1, 1, 1]);
  t.equal(sender.pending, 0);
  t.equal(transport.writes.length, 1, 'nothing more was written');
  sender.abandon();
  t.end();
});
