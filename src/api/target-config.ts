/** Configuration files against a target that runs. */
import { applyConfig, pathsOf } from '../config/apply.ts';
import type { TargetDocument } from '../config/document.ts';
import { type ReadConfig, readConfig } from '../config/nvmet.ts';
import { lookAll } from './look.ts';
import { asNvmeError } from './prepare.ts';
import type { Wanted } from './target-control.ts';
import type { TargetParts } from './target-parts.ts';
import { randomSerial, randomUuid } from './target-state.ts';

/** Throws an NvmeError whose `cause` says where it is wrong. */
export function parseConfig(json: string): ReadConfig {
  try {
    return readConfig(json);
  } catch (thrown) {
    throw asNvmeError(thrown) ?? thrown;
  }
}

/** The document that the file wants; looks at files, and opens none. */
export async function withConfig(
  { env, target }: TargetParts,
  document: TargetDocument,
  { config }: ReadConfig,
): Promise<Wanted> {
  return applyConfig(document, config, {
    seen: await lookAll(pathsOf(config)),
    newUuid: () => randomUuid(env.random),
    newSerial: () => randomSerial(env.random),
    lastNsid: target.limits.namespaces,
  });
}
