/**
 * Asynchronous events of one controller (NVMe Base 2.1, section 5.1.2). A request is always with the controller; an
 * event that comes back is followed by the next request and by reading the log that it names, without RAE: that
 * unmasks its type.
 */
import { Event, type AsyncEvent, eventName, eventOf } from '../nvme/event.ts';
import { LogId } from '../nvme/logs.ts';
import { statusName } from '../nvme/status.ts';
import { asyncEventRequest, getLogPage } from './commands.ts';
import type { Association } from './association.ts';

/** Bytes that are read of a log only to unmask its event; 16: the head of an ANA log that nobody needs. */
const LOG_BYTES: ReadonlyMap<number, number> = new Map([
  [LogId.Error, 64],
  [LogId.Smart, 512],
  [LogId.FirmwareSlot, 512],
  [LogId.ChangedNamespaces, 4096],
  [LogId.Ana, 16],
  [LogId.Discovery, 16],
]);
const BROADCAST = 0xffffffff;

const same = (a: AsyncEvent, b: AsyncEvent): boolean => a.type === b.type && a.info === b.info;

export class Events {
  readonly #association: Association;

  constructor(association: Association) {
    this.#association = association;
  }

  /** Gives the controller `count` requests. */
  start(count: number): void {
    for (let i = 0; i < count; i++) this.#arm();
  }

  #arm(): void {
    const association = this.#association;
    association.command(asyncEventRequest, ({ status, dw0 }) => {
      if (!association.open || association.controller.state.is('deleting')) return;
      if (status === 0) this.#happened(eventOf(dw0));
      else association.controller.log('warn', 'no more asynchronous events', { status: statusName(status) });
    });
  }

  #happened(event: AsyncEvent): void {
    const association = this.#association;
    const { controller } = association;
    controller.log('info', 'asynchronous event', { event: eventName(event) });
    this.#arm();
    const length = LOG_BYTES.get(event.lid);
    const heard = (): void => {
      if (!association.open) return;
      if (same(event, Event.NamespaceAttributeChanged)) controller.rescan();
      else if (same(event, Event.DiscoveryLogChange)) controller.onDiscoveryChange?.();
    };
    // The ANA log is read by those who need it, in full.
    const read = same(event, Event.AnaChange) && controller.subsystem?.anaChanged(controller) === true;
    if (length === undefined || read) {
      heard();
      return;
    }
    // The namespaces are looked at after the log is read, so that a change during the scan is a new event.
    association.command(
      (request) => {
        getLogPage(request, event.lid, BROADCAST, 0, length, false);
        request.timeout = controller.limits.adminTimeout;
      },
      ({ status }) => {
        if (status !== 0 && association.open)
          controller.log('warn', 'the log of an event cannot be read', {
            lid: event.lid,
            status: statusName(status),
          });
        heard();
      },
    );
  }
}
