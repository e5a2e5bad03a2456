/** Opcodes (NVMe Base 2.1, section 3.1.3.4 and 6; NVM Command Set 1.1, section 3). */
export const AdminOpcode = {
  GetLogPage: 0x02,
  Identify: 0x06,
  Abort: 0x08,
  SetFeatures: 0x09,
  GetFeatures: 0x0a,
  AsyncEventRequest: 0x0c,
  NamespaceManagement: 0x0d,
  NamespaceAttachment: 0x15,
  KeepAlive: 0x18,
  CrossControllerReset: 0x38,
  Format: 0x80,
  Sanitize: 0x84,
} as const;

export const IoOpcode = {
  Flush: 0x00,
  Write: 0x01,
  Read: 0x02,
  Compare: 0x05,
  WriteZeroes: 0x08,
  DatasetManagement: 0x09,
  Verify: 0x0c,
  ReservationRegister: 0x0d,
  ReservationReport: 0x0e,
  ReservationAcquire: 0x11,
  ReservationRelease: 0x15,
  Cancel: 0x18,
  Copy: 0x19,
} as const;

/** The opcode of every fabrics command; FCTYPE tells which. */
export const FABRICS_OPCODE = 0x7f;

export const FabricsType = {
  PropertySet: 0x00,
  Connect: 0x01,
  PropertyGet: 0x04,
  AuthenticationSend: 0x05,
  AuthenticationReceive: 0x06,
  Disconnect: 0x08,
} as const;

/** Bits 1:0 of an opcode: which way data goes. */
export const DataTransfer = { none: 0, hostToController: 1, controllerToHost: 2, both: 3 } as const;

const spaced = (name: string): string => name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ');
const byCode = (table: Record<string, number>): ReadonlyMap<number, string> =>
  new Map(Object.entries(table).map(([name, code]) => [code, spaced(name)]));
const ADMIN = byCode(AdminOpcode);
const IO = byCode(IoOpcode);
const FABRICS = byCode(FabricsType);

/** `Get Log Page`, `Connect`, or `opcode c0h`. `fctype` matters for fabrics commands only. */
export function commandName(admin: boolean, opcode: number, fctype = 0): string {
  if (opcode === FABRICS_OPCODE) return FABRICS.get(fctype) ?? `fabrics type ${fctype.toString(16)}h`;
  return (admin ? ADMIN : IO).get(opcode) ?? `opcode ${opcode.toString(16)}h`;
}
