/** A controller's properties as they are read and written: words, for the tables of nvme/property.ts. */
import { viewOf } from '../layout/struct.ts';
import { Cc } from '../nvme/property.ts';
import type { Capabilities } from './capabilities.ts';

/** A property, or a completion's dwords, as bytes for a table to read. Each call gives new ones. */
export function registerView(low: number, high = 0): DataView {
  const view = viewOf(new Uint8Array(8));
  view.setUint32(0, low, true);
  view.setUint32(4, high, true);
  return view;
}

/** Sizes of queue entries, as powers of two: 64 and 16 bytes. */
const IOSQES = 6;
const IOCQES = 4;
/** CC.CSS: all command sets that the controller has; the NVM command set alone; none for I/O. */
const CSS_ALL = 6;
const CSS_NVM = 0;
const CSS_ADMIN = 7;

/** CC as we want it, of what CAP allows. Nothing of ours depends on the page size: the smallest is good. */
export function ccWord(
  { commandSets, adminOnly, minimumPage }: Capabilities,
  enable: boolean,
  shn = 0,
): number {
  const css = commandSets ? CSS_ALL : adminOnly ? CSS_ADMIN : CSS_NVM;
  const mps = Math.log2(minimumPage) - 12;
  const value = Cc.bytes({
    cc: { en: enable ? 1 : 0, css, mps, ams: 0, shn, iosqes: IOSQES, iocqes: IOCQES, crime: 0 },
  });
  return viewOf(value).getUint32(0, true);
}

/** `1.3`, `2.1`, or with a tertiary number. */
export function versionText(vs: number): string {
  const tertiary = vs & 0xff;
  return `${vs >>> 16}.${(vs >>> 8) & 0xff}${tertiary === 0 ? '' : `.${tertiary}`}`;
}
