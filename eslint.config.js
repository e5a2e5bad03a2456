import { builtinModules } from 'node:module';
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

// Each folder of src and the folders below it. An import may only go from a key to its list.
const protocol = ['storage', 'nvme', 'pdu', 'layout', 'runtime'];
const ends = ['target', 'initiator', ...protocol];
const layers = {
  runtime: [],
  'runtime/node': ['runtime'],
  layout: ['runtime'],
  pdu: ['layout', 'runtime'],
  nvme: ['pdu', 'layout', 'runtime'],
  storage: ['nvme', 'pdu', 'layout', 'runtime'],
  target: protocol,
  initiator: protocol,
  nbd: ['layout', 'runtime'],
  config: protocol,
  api: ['config', 'nbd', ...ends, 'runtime/node'],
  daemon: ['api', 'config', 'nbd', ...ends, 'runtime/node'],
  cli: ['daemon', 'api', 'config', ...ends, 'runtime/node'],
};
const folders = Object.keys(layers).filter((folder) => !folder.includes('/'));

// Who may touch the machine, and who may read the clock and the dice without a port.
const touchesNode = ['runtime/node', 'api', 'daemon', 'cli'];
const hasRealTime = ['runtime/node', 'cli'];

const nodeModule = `^(node:|(${builtinModules.join('|')})(/|$))`;
const useClock = 'Time comes through the Clock port: env.clock.now() and env.clock.timer().';
const useRandom = 'Randomness comes through the Random port (or the Crypto port, for secrets).';
const useQueue = 'Nothing runs later by itself: record the fact and call settle(), or use a Clock timer.';

const timeAndRandom = {
  globals: [
    { name: 'Date', message: useClock },
    { name: 'performance', message: useClock },
    { name: 'setTimeout', message: useClock },
    { name: 'setInterval', message: useClock },
    { name: 'setImmediate', message: useQueue },
    { name: 'queueMicrotask', message: useQueue },
    { name: 'crypto', message: useRandom },
  ],
  properties: [
    { object: 'Math', property: 'random', message: useRandom },
    { object: 'AbortSignal', property: 'timeout', message: useClock },
    { object: 'process', property: 'hrtime', message: useClock },
    { object: 'process', property: 'nextTick', message: useQueue },
  ],
  imports: [
    { regex: '^(node:)?(timers|perf_hooks)(/|$)', message: useClock },
    { regex: '^(node:)?crypto$', importNamePattern: '^random', message: useRandom },
  ],
};

const machine = {
  globals: [
    { name: 'process', message: 'The core sees the machine only through its ports (src/runtime/ports.ts).' },
    { name: 'console', message: 'The core speaks through the Trace port.' },
    { name: 'Buffer', message: 'The core uses Uint8Array and DataView.' },
  ],
  types: {
    Buffer: { message: 'The core uses Uint8Array and DataView.' },
    'NodeJS.Timeout': { message: useClock },
  },
  imports: [
    {
      regex: nodeModule,
      message: 'The core reaches files, sockets and crypto through src/runtime/ports.ts.',
    },
    { regex: '^(koffi|pino|commander)(/|$)', message: 'The core does no I/O, logging or argument parsing.' },
  ],
};

function importRules(folder) {
  const allowed = [folder, ...layers[folder]];
  const below = layers[folder].join(', ') || 'nothing else in src';
  const forbidden = folders.filter((name) => !allowed.includes(name));
  const patterns = [
    { regex: '^(\\.\\./)+(test|scripts)/|^nvme-tcp(/|$)', message: 'src does not import its own users.' },
  ];
  if (forbidden.length > 0) {
    const message = `Imports go downward only: src/${folder} may import ${below}.`;
    patterns.push({ regex: `^(\\.\\./)+(src/)?(${forbidden.join('|')})/`, message });
  }
  if (!allowed.includes('runtime/node')) {
    const message = `src/runtime/node is only for ${touchesNode.slice(1).join(', ')}, scripts and test.`;
    patterns.push({
      regex: folder === 'runtime' ? '^\\./node/' : '^(\\.\\./)+(src/)?runtime/node/',
      message,
    });
  }
  return patterns;
}

function layer(folder) {
  const core = !touchesNode.includes(folder);
  const simulated = !hasRealTime.includes(folder);
  const imports = importRules(folder);
  if (simulated && !core) imports.push(...timeAndRandom.imports);
  if (core) imports.push(...machine.imports);

  const rules = { 'no-restricted-imports': ['error', { patterns: imports }] };
  if (simulated) {
    const globals = [...timeAndRandom.globals, ...(core ? machine.globals : [])];
    rules['no-restricted-globals'] = ['error', { globals, checkGlobalObject: true }];
    rules['no-restricted-properties'] = ['error', ...timeAndRandom.properties];
  }
  if (core) {
    rules['@typescript-eslint/no-restricted-types'] = ['error', { types: machine.types }];
    // no-restricted-imports does not look at import().
    const selector = `ImportExpression[source.value=/${nodeModule.replaceAll('/', '\\/')}/]`;
    const message = machine.imports[0].message;
    rules['no-restricted-syntax'] = ['error', { selector, message }];
  }
  return {
    name: `layer ${folder}`,
    files: [`src/${folder}/**/*.ts`],
    ignores: folder === 'runtime' ? ['src/runtime/node/**'] : [],
    rules,
  };
}

export default defineConfig(
  { ignores: ['dist', 'coverage', '.tap', 'test/vectors'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Numbers in messages and trace text are the normal case and print the same everywhere.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // With noUncheckedIndexedAccess a hot array access whose index is known good is written `a[i]!`.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // `() => this.settle()` is how every timer and callback is written.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // `while (true)` with a return is the clearest form of a parser's loop.
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // tap waits for its subtests itself; every other promise in a test must still be awaited.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafePromises: [
            { from: 'package', package: '@tapjs/core', name: ['PromiseWithSubtest'] },
          ],
        },
      ],
    },
  },
  Object.keys(layers).map(layer),
);
