/** The kernels that can be booted, each with the Debian release that it and the programs beside it come from. */
export interface Kernel {
  readonly name: string;
  readonly release: string;
  /** A package that depends on the kernel's own. */
  readonly metapackage: string;
}

export const KERNELS: readonly Kernel[] = [
  { name: '6.12', release: 'trixie', metapackage: 'linux-image-amd64' },
  { name: '6.1', release: 'bookworm', metapackage: 'linux-image-amd64' },
];
