/** What is kept of a scenario that failed, and shown of it. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './tool.ts';

export interface Evidence {
  readonly folder: string;
  /** Why it failed. */
  readonly reason: string;
  /** The kernel log. */
  readonly console: string;
  readonly journal: readonly string[];
  readonly wires: readonly {
    readonly port: number;
    readonly capture: { readonly empty: boolean; write(path: string, port: number): void };
  }[];
  /** Our compiled dump. */
  readonly dump: string;
}

/** Lines of the decoded capture and of our log that are shown. */
const SHOWN = 24;

/** Writes everything into the folder; gives the lines to show. */
export function keep(evidence: Evidence): string[] {
  const { folder, journal } = evidence;
  mkdirSync(folder, { recursive: true });
  copyFileSync(evidence.console, join(folder, 'console.log'));
  writeFileSync(join(folder, 'reason.txt'), `${evidence.reason}\n`);
  writeFileSync(join(folder, 'ours.log'), `${journal.join('\n')}\n`);
  const shown = [...evidence.reason.split('\n').slice(0, 40)];
  if (journal.length > 0) shown.push('our last log lines:', ...journal.slice(-SHOWN / 2));
  for (const [i, { capture, port }] of evidence.wires.entries()) {
    if (capture.empty) continue;
    const pcap = join(folder, i === 0 ? 'wire.pcap' : `wire-${i}.pcap`);
    capture.write(pcap, port);
    const lines = decode(evidence.dump, pcap);
    writeFileSync(pcap.replace('.pcap', '.txt'), `${lines.join('\n')}\n`);
    shown.push('the last PDUs:', ...lines.slice(-SHOWN));
  }
  shown.push(`kept in ${folder}: kernel log, capture, decoded capture, our log`);
  return shown;
}

function decode(dump: string, pcap: string): string[] {
  try {
    return run(process.execPath, [dump, pcap]).trimEnd().split('\n');
  } catch (error) {
    return [`the capture cannot be decoded: ${error instanceof Error ? error.message : String(error)}`];
  }
}
