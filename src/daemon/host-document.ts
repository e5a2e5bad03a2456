/**
 * What a host daemon keeps, as data: the connections that it was told to make, and the discovery services that it
 * follows. The names are nvme-cli's. It is checked like any other input: people may edit it while no daemon runs.
 */
import { z } from 'zod';
import { WRITE_FAILOVERS } from '../initiator/failover.ts';
import { IO_POLICIES } from '../initiator/select.ts';
import { checked, parseJson } from '../config/checked.ts';
import { nqn, text, whole } from '../config/values.ts';

/** Name of the document in the state folder. Who the host is, is in host.json: programs without a daemon keep that too. */
export const DOCUMENT = 'hostd.json';

const seconds = whole(-1, 2 ** 31 - 1);

/** Where to, and as whom. */
export const address = {
  traddr: text(),
  trsvcid: z
    .union([text(), whole(1, 65535)])
    .transform(String)
    .exactOptional(),
  host_traddr: text().exactOptional(),
  host_iface: text().exactOptional(),
  hostnqn: nqn.exactOptional(),
  hostid: text().exactOptional(),
  hdr_digest: z.boolean().exactOptional(),
  data_digest: z.boolean().exactOptional(),
  keep_alive_tmo: whole(0, 4294967).exactOptional(),
};

/** How a lost controller is dealt with; seconds, -1: never. */
export const recovery = {
  reconnect_delay: whole(1, 86_400).exactOptional(),
  ctrl_loss_tmo: seconds.exactOptional(),
  fast_io_fail_tmo: seconds.exactOptional(),
  dev_loss_tmo: seconds.exactOptional(),
  backoff: z.boolean().exactOptional(),
};

/** How the heads of a subsystem use their paths. */
export const heads = {
  iopolicy: z.enum(IO_POLICIES).exactOptional(),
  write_failover: z.enum(WRITE_FAILOVERS).exactOptional(),
  delayed_removal_secs: whole(0, 2 ** 31 - 1).exactOptional(),
};

export const controller = {
  nr_io_queues: whole(1, 65_534).exactOptional(),
  nr_write_queues: whole(0, 65_533).exactOptional(),
  queue_size: whole(16, 1024).exactOptional(),
  disable_sqflow: z.boolean().exactOptional(),
  duplicate_connect: z.boolean().exactOptional(),
  preferred: z.boolean().exactOptional(),
  ...recovery,
  ...heads,
};

export const connection = z.strictObject({ ...address, subnqn: nqn, ...controller });
/** One controller. */
export type ConnectionEntry = z.infer<typeof connection>;

export const following = z.strictObject({
  ...address,
  ...controller,
  /** Seconds until what is in no log any more is disconnected; -1: it is kept. */
  disconnect_after: seconds.exactOptional(),
});
/** A discovery service that is followed, and how what it names is connected. */
export type FollowEntry = z.infer<typeof following>;

/** A transport port that was removed: nobody connects through it. Without an address, a local port as a whole. */
const removedPort = z.strictObject({
  local: z.string().max(300),
  traddr: text().exactOptional(),
  trsvcid: whole(1, 65_535).exactOptional(),
});
export type RemovedPort = z.infer<typeof removedPort>;

const document = z.strictObject({
  version: z.literal(1),
  connections: z.array(connection),
  following: z.array(following),
  /** Left out if there are none. */
  removedPorts: z.array(removedPort).exactOptional(),
});
export type HostDocument = z.infer<typeof document>;

export const EMPTY: HostDocument = { version: 1, connections: [], following: [] };

/** Throws a ConfigError that says where it is wrong. */
export const parseHostDocument = (json: string): HostDocument => checked(document, parseJson(json), DOCUMENT);

export const hostDocumentText = (value: HostDocument): string => `${JSON.stringify(value, undefined, 2)}\n`;
