/** What setup.ts makes of answers: whether a controller can be used, and what a refusal is about. */
import { Connect, ConnectData, ConnectInvalidResponse } from '../nvme/fabrics.ts';
import { Status, statusCode } from '../nvme/status.ts';
import { GHOST1_MARK } from '../nvme/identify-controller.ts';
import type { Capabilities } from './capabilities.ts';
import { refused, type Failure } from './failure.ts';
import { registerView } from './registers.ts';
import type { Request } from './request.ts';

type Identified = NonNullable<Capabilities['identified']>;

/** What Linux asks of an I/O controller (NVMe Base 2.1, section 5.1.13.2.1; TCP Transport 1.1, section 3.7). */
export function ioProblem(id: Identified): string | undefined {
  if (id.kas === 0) return 'KAS 0, but keep-alive is mandatory';
  if (id.ioccsz < 4) return `IOCCSZ ${id.ioccsz}, but a command has four 16-byte units`;
  if (id.iorcsz < 1) return `IORCSZ ${id.iorcsz}, but a response has one 16-byte unit`;
  if (id.icdoff !== 0) return `ICDOFF ${id.icdoff}, which is not supported`;
  if (id.sgls.support === 0) return 'SGLs are not supported, but mandatory';
  return undefined;
}

/**
 * Whether the target is known to close a connection only when nothing of it executes any more (GHOST.1): it says so
 * itself, in the bytes that are a vendor's own.
 */
export const keepsGhost1 = (vendorSpecific: Uint8Array): boolean =>
  GHOST1_MARK.every((byte, i) => vendorSpecific[i] === byte);

/** Says what a Connect did not like, as far as the answer tells (NVMe Base 2.1, section 6.3). */
export function connectRefused(qid: number, { status, dw0 }: Request): Failure {
  const name = `Connect of ${qid === 0 ? 'the admin queue' : `queue ${qid}`}`;
  if (statusCode(status) !== Status.ConnectInvalidParameters) return refused(name, status);
  const answer = registerView(dw0);
  const offset = ConnectInvalidResponse.ipo.get(answer, 0);
  const inData = ConnectInvalidResponse.iattr.data.get(answer, 0) === 1;
  const fields: Record<string, { offset: number; label: string }> = inData
    ? ConnectData.fields
    : Connect.fields;
  const field = Object.values(fields).find((each) => each.offset === offset);
  if (field === undefined) return refused(name, status, `offset ${offset}`);
  const often = field === ConnectData.fields.subnqn ? ': no such subsystem is offered there' : '';
  return refused(name, status, `it is about ${field.label}${often}`);
}
