/** Identify: what can be asked for (NVMe Base 2.1, section 5.1.13). */

/** Controller or Namespace Structure: what an Identify asks for. */
export const Cns = {
  Namespace: 0x00,
  Controller: 0x01,
  ActiveNamespaces: 0x02,
  NamespaceDescriptors: 0x03,
  NvmSetList: 0x04,
  CsNamespace: 0x05,
  CsController: 0x06,
  CsActiveNamespaces: 0x07,
  CsIndependentNamespace: 0x08,
  NamespaceFormat: 0x09,
  CsNamespaceFormat: 0x0a,
  AllocatedNamespaces: 0x10,
  AllocatedNamespace: 0x11,
  AttachedControllers: 0x12,
  Controllers: 0x13,
  PrimaryControllerCapabilities: 0x14,
  SecondaryControllers: 0x15,
  NamespaceGranularity: 0x16,
  Uuids: 0x17,
  Domains: 0x18,
  EnduranceGroups: 0x19,
  CsAllocatedNamespaces: 0x1a,
  CsAllocatedNamespace: 0x1b,
  CommandSets: 0x1c,
} as const;

const CNS_NAMES: ReadonlyMap<number, string> = new Map([
  [Cns.Namespace, 'Namespace'],
  [Cns.Controller, 'Controller'],
  [Cns.ActiveNamespaces, 'Active Namespace ID list'],
  [Cns.NamespaceDescriptors, 'Namespace Identification Descriptors'],
  [Cns.NvmSetList, 'NVM Set list'],
  [Cns.CsNamespace, 'command set specific Namespace'],
  [Cns.CsController, 'command set specific Controller'],
  [Cns.CsActiveNamespaces, 'command set specific Active Namespace ID list'],
  [Cns.CsIndependentNamespace, 'command set independent Namespace'],
  [Cns.NamespaceFormat, 'Namespace of a format index'],
  [Cns.CsNamespaceFormat, 'command set specific Namespace of a format index'],
  [Cns.AllocatedNamespaces, 'Allocated Namespace ID list'],
  [Cns.AllocatedNamespace, 'Namespace of an allocated NSID'],
  [Cns.AttachedControllers, 'Controllers attached to an NSID'],
  [Cns.Controllers, 'Controllers of the subsystem'],
  [Cns.PrimaryControllerCapabilities, 'Primary Controller Capabilities'],
  [Cns.SecondaryControllers, 'Secondary Controller list'],
  [Cns.NamespaceGranularity, 'Namespace Granularity list'],
  [Cns.Uuids, 'UUID list'],
  [Cns.Domains, 'Domain list'],
  [Cns.EnduranceGroups, 'Endurance Group list'],
  [Cns.CsAllocatedNamespaces, 'command set specific Allocated Namespace ID list'],
  [Cns.CsAllocatedNamespace, 'command set specific Namespace of an allocated NSID'],
  [Cns.CommandSets, 'I/O Command Sets'],
]);
export const cnsName = (cns: number): string => CNS_NAMES.get(cns) ?? `CNS ${cns.toString(16)}h`;

/** Every Identify data structure has this size. */
export const IDENTIFY_SIZE = 4096;

/** I/O Command Set Identifier (CSI). */
export const Csi = { Nvm: 0, KeyValue: 1, Zoned: 2 } as const;
