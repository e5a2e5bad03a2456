/** Every structure table of the project, found by importing the modules that export them. */
import * as pdus from '../../src/pdu/pdus.ts';
import * as nbd from '../../src/nbd/protocol.ts';
import * as anaLog from '../../src/nvme/ana-log.ts';
import * as cqe from '../../src/nvme/cqe.ts';
import * as discovery from '../../src/nvme/discovery.ts';
import * as event from '../../src/nvme/event.ts';
import * as fabrics from '../../src/nvme/fabrics.ts';
import * as features from '../../src/nvme/features.ts';
import * as identifyController from '../../src/nvme/identify-controller.ts';
import * as identifyLists from '../../src/nvme/identify-lists.ts';
import * as identifyNamespace from '../../src/nvme/identify-namespace.ts';
import * as logs from '../../src/nvme/logs.ts';
import * as property from '../../src/nvme/property.ts';
import * as reservation from '../../src/nvme/reservation.ts';
import * as sqe from '../../src/nvme/sqe.ts';
import type { Rows, Struct } from '../../src/layout/struct.ts';

export type AnyStruct = Struct<Rows>;

const isStruct = (value: unknown): value is AnyStruct =>
  typeof value === 'object' && value !== null && 'structName' in value && 'fields' in value;

/** The files that hold tables; a test compares them with the folder. */
export const MODULES: Record<string, object> = {
  'pdu/pdus.ts': pdus,
  'nbd/protocol.ts': nbd,
  'nvme/ana-log.ts': anaLog,
  'nvme/cqe.ts': cqe,
  'nvme/discovery.ts': discovery,
  'nvme/event.ts': event,
  'nvme/fabrics.ts': fabrics,
  'nvme/features.ts': features,
  'nvme/identify-controller.ts': identifyController,
  'nvme/identify-lists.ts': identifyLists,
  'nvme/identify-namespace.ts': identifyNamespace,
  'nvme/logs.ts': logs,
  'nvme/property.ts': property,
  'nvme/reservation.ts': reservation,
  'nvme/sqe.ts': sqe,
};

export const STRUCTURES: readonly AnyStruct[] = Object.values(MODULES)
  .flatMap((module) => Object.values(module) as unknown[])
  .filter(isStruct);
