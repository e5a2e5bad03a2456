import t from 'tap';
import { NvmeError, ReservationType, createHost } from '../../src/api/index.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import {
  AcquireData,
  RegisterData,
  ReleaseData,
  ReservationAcquire,
  ReservationRegister,
  ReservationRelease,
  ReservationReport,
  encodeReservationReport,
} from '../../src/nvme/reservation.ts';
import { Sqe } from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import { FakeController, SUBNQN } from '../doubles/fake-controller.ts';
import { settled } from '../doubles/turns.ts';

const HOSTID = '11111111-2222-3333-4444-555555555555';

t.test('reservations of a disk: what is sent, and what the report says', async (t) => {
  const env = memoryEnv();
  const fake = new FakeController(env);
  const host = createHost({
    env,
    etc: '/nonexistent',
    hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${HOSTID}`,
    hostid: HOSTID,
  });
  const run = <T>(promise: Promise<T>): Promise<T> => settled(env, promise);
  const options = { traddr: '127.0.0.1', subnqn: SUBNQN, nr_io_queues: 1, keep_alive_tmo: 0 };
  const { reservations } = (await run(host.connect(options))).head(1);

  const sent: unknown[] = [];
  let status = 0;
  const registrants = Array.from({ length: 70 }, (_, i) => ({
    cntlid: i === 0 ? 1 : undefined,
    holder: i === 0,
    hostid: `0000${String(i).padStart(4, '0')}-2222-3333-4444-555555555555`,
    rkey: BigInt(i + 1),
  }));
  const report = { generation: 9, rtype: 3, ptpl: true, registrants };
  fake.script = ({ on, cid, view, data, length }) => {
    if (on.qid === 0) return false;
    const body = viewOf(data);
    switch (Sqe.opc.get(view, 0)) {
      case IoOpcode.ReservationRegister:
        sent.push([ReservationRegister.cdw10.decode(view, 0), RegisterData.decode(body)]);
        break;
      case IoOpcode.ReservationAcquire:
        sent.push([ReservationAcquire.cdw10.decode(view, 0), AcquireData.decode(body)]);
        break;
      case IoOpcode.ReservationRelease:
        sent.push([ReservationRelease.cdw10.decode(view, 0), ReleaseData.decode(body)]);
        break;
      case IoOpcode.ReservationReport: {
        sent.push(ReservationReport.numd.get(view, 0) * 4);
        const answer = new Uint8Array(length);
        answer.set(encodeReservationReport(report).subarray(0, length));
        on.data(cid, answer);
        break;
      }
      default:
        return false;
    }
    on.respond(cid, status);
    return true;
  };
  const last = (): unknown => sent.at(-1);

  await run(reservations.register(7n, { ptpl: true }));
  t.match(last(), [
    { rrega: 0, iekey: 0, cptpl: 3 },
    { crkey: 0n, nrkey: 7n },
  ]);
  await run(reservations.replaceKey(7n, 8n));
  t.match(last(), [
    { rrega: 2, cptpl: 0 },
    { crkey: 7n, nrkey: 8n },
  ]);
  await run(reservations.acquire(8n, ReservationType.WriteExclusive));
  t.match(last(), [{ racqa: 0, rtype: 1 }, { crkey: 8n }]);
  await run(reservations.preempt(8n, 5n, ReservationType.ExclusiveAccess));
  t.match(last(), [
    { racqa: 1, rtype: 2 },
    { crkey: 8n, prkey: 5n },
  ]);
  await run(reservations.preempt(8n, 5n, ReservationType.ExclusiveAccess, { abort: true }));
  t.match(last(), [{ racqa: 2 }, {}]);
  await run(reservations.release(8n, ReservationType.ExclusiveAccess));
  t.match(last(), [{ rrela: 0, rtype: 2 }, { crkey: 8n }]);
  await run(reservations.clear(8n));
  t.match(last(), [{ rrela: 1 }, { crkey: 8n }]);
  await run(reservations.unregister(8n, { ptpl: false }));
  t.match(last(), [{ rrega: 1, cptpl: 2 }, { crkey: 8n }]);

  t.strictSame(await run(reservations.report()), report, 'all of them, though there are many');
  t.strictSame(sent.slice(-2), [64 * 64, (1 + 70 + 63) * 64], 'with a second, larger buffer');

  status = Status.ReservationConflict | DNR;
  const error: unknown = await run(reservations.acquire(8n, 1)).catch((error: unknown) => error);
  t.ok(error instanceof NvmeError && error.status === status);
  await run(host.close());
});
