/** The single values of a configuration, as schemas: documents, files and control requests are made of them. */
import { z } from 'zod';
import {
  addressProblem,
  asciiProblem,
  type Check,
  eui64Digits,
  eui64Problem,
  ieeeOuiDigits,
  ieeeOuiProblem,
  nguidDigits,
  nguidProblem,
  uuidProblem,
} from './checks.ts';
import { nqnProblem } from '../nvme/nqn.ts';
import {
  ANA_GROUPS,
  ANA_STATES,
  BLOCK_SIZES,
  FIRMWARE_LENGTH,
  INLINE_DATA_UNIT,
  LAST_CNTLID,
  LAST_NSID,
  LAST_PORT_ID,
  LAST_QID,
  LEAST_QUEUE_SIZE,
  MODEL_LENGTH,
  MOST_INLINE_DATA,
  MOST_QUEUE_SIZE,
  SERIAL_LENGTH,
} from './document.ts';

/** A text with something more to ask of it. */
export const text = (check: Check = () => undefined): z.ZodType<string, string> =>
  z.string().superRefine((value, context) => {
    const problem = value === '' ? 'is empty' : check(value);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

export const whole = (least: number, most: number): z.ZodInt => z.int().min(least).max(most);

export const nqn = text(nqnProblem);
/** `HOST:PORT`. */
export const address = text(addressProblem);

// ---- subsystems

export const serial = text((value) => asciiProblem(value, SERIAL_LENGTH));
export const model = text((value) => asciiProblem(value, MODEL_LENGTH));
export const firmware = text((value) => asciiProblem(value, FIRMWARE_LENGTH));
export const ieeeOui = text(ieeeOuiProblem).transform(ieeeOuiDigits);
export const cntlid = whole(1, LAST_CNTLID);
export const ioQueues = whole(1, LAST_QID);

// ---- namespaces

export const nsid = whole(1, LAST_NSID);
export const uuid = text(uuidProblem).transform((value) => value.toLowerCase());
export const nguid = text(nguidProblem).transform(nguidDigits);
export const eui64 = text(eui64Problem).transform(eui64Digits);
export const blockSize = z
  .int()
  .refine((size) => BLOCK_SIZES.includes(size), `has to be ${BLOCK_SIZES.join(' or ')}`);

// ---- ports

export const portId = whole(1, LAST_PORT_ID);
/** PORTID of what other discovery services tell. */
export const anyPortId = whole(0, LAST_PORT_ID);
export const anaGroup = whole(1, ANA_GROUPS);
export const anaState = z.enum(ANA_STATES);
/** Bytes. */
export const inlineDataSize = whole(0, MOST_INLINE_DATA).refine(
  (bytes) => bytes % INLINE_DATA_UNIT === 0,
  `has to be a multiple of ${INLINE_DATA_UNIT}`,
);
export const maxQueueSize = whole(LEAST_QUEUE_SIZE, MOST_QUEUE_SIZE);
