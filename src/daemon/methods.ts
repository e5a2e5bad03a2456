/** What the control socket of a target understands: each method's params, and what it does (docs/control.md). */
import { z } from 'zod';
import { parseConfig, withConfig } from '../api/target-config.ts';
import type { TargetParts } from '../api/target-parts.ts';
import { writeConfig } from '../config/nvmet-write.ts';
import { type Method, type Methods, method } from './control-server.ts';
import { LOG_LEVELS, type LogLevel } from './log-levels.ts';
import { namespaceMethods } from './namespace-methods.ts';
import { portMethods } from './port-methods.ts';
import { showConnections, showTarget } from './show.ts';
import { subsystemMethods } from './subsystem-methods.ts';
import { TargetScope, force, linesOf } from './target-scope.ts';

export interface MethodParts extends TargetParts {
  setLogLevel(level: LogLevel): void;
}

const none = z.strictObject({});

export function targetMethods(parts: MethodParts): Methods {
  const { control } = parts;
  const scope = new TargetScope(parts);
  return new Map<string, Method>([
    ['show', method(none, () => showTarget(control))],
    ['connections', method(none, () => ({ connections: showConnections(control) }))],
    ...subsystemMethods(scope),
    ...namespaceMethods(scope),
    ...portMethods(scope),
    [
      'log-level',
      method(z.strictObject({ level: z.enum(LOG_LEVELS) }), ({ level }) => {
        parts.setLogLevel(level);
      }),
    ],
    [
      'plan',
      method(z.strictObject({ config: z.string() }), async (params) => {
        const read = parseConfig(params.config);
        const plan = await control.plan((document) => withConfig(parts, document, read));
        return { ...linesOf(plan), unsupported: read.unsupported };
      }),
    ],
    [
      'apply',
      method(z.strictObject({ config: z.string(), force }), async (params) => {
        const read = parseConfig(params.config);
        const plan = await control.change((document) => withConfig(parts, document, read), {
          force: params.force,
          lenient: ({ kind }, { code }) => kind === 'add port' && code === 'EADDRNOTAVAIL',
        });
        return { ...linesOf(plan), unsupported: read.unsupported, pending: showTarget(control).pending };
      }),
    ],
    [
      'save',
      method(z.strictObject({ nvmet: z.boolean().default(false) }), (params) => {
        const { json, lost } = writeConfig(control.wanted, !params.nvmet);
        return { config: json, lost };
      }),
    ],
  ]);
}
