/** The discovery log (NVMe Base 2.1, section 5.1.12.3.1): every subsystem that the host may use, on every port. */
import {
  Adrfam,
  DiscoveryEntry,
  DiscoveryHeader,
  SecureChannel,
  Subtype,
  Trtype,
} from '../nvme/discovery.ts';
import { CNTLID_DYNAMIC } from '../nvme/fabrics.ts';
import { viewOf } from '../layout/struct.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import type { Port } from './port.ts';
import type { Subsystem } from './subsystem.ts';

/** Addresses that mean "all of this machine's": a host is told the one that it reached. */
const WILDCARDS = new Set(['0.0.0.0', '::', '']);

export function discoveryLog(controller: Controller, command: Command): Uint8Array {
  const { target } = controller.subsystem;
  const { transport } = command.queue.connection;
  const entries: { port: Port; subsystem: Subsystem }[] = [];
  for (const port of target.ports)
    for (const subsystem of [target.discovery, ...target.subsystems.values()])
      if (subsystem.admits(controller.hostnqn)) entries.push({ port, subsystem });

  const log = new Uint8Array(DiscoveryHeader.size + entries.length * DiscoveryEntry.size);
  const view = viewOf(log);
  DiscoveryHeader.encode({ genctr: target.genctr, numrec: entries.length, recfmt: 0 }, view);
  entries.forEach(({ port, subsystem }, i) => {
    const reached = transport.local.host;
    const traddr = WILDCARDS.has(port.address.host) ? reached : port.address.host;
    DiscoveryEntry.encode(
      {
        trtype: Trtype.Tcp,
        adrfam: traddr.includes(':') ? Adrfam.Ipv6 : Adrfam.Ipv4,
        subtype: subsystem.discovery ? Subtype.CurrentDiscovery : Subtype.Nvm,
        treq: { secureChannel: SecureChannel.NotRequired, disableSqFlow: 1 },
        portid: port.id,
        cntlid: CNTLID_DYNAMIC,
        asqsz: 32,
        trsvcid: String(port.address.port),
        subnqn: subsystem.nqn,
        traddr,
      },
      view,
      DiscoveryHeader.size + i * DiscoveryEntry.size,
    );
  });
  return log;
}
