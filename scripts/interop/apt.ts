/**
 * One Debian release, asked with apt beside the machine's own state: its lists, an empty set of installed packages, and
 * the mirror that this machine is set up with. Nothing is installed, and root is not needed.
 */
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyring } from './packages.ts';
import { run } from './tool.ts';

/** Lists older than this are fetched again before they are used, milliseconds. */
const STALE = 12 * 3600 * 1000;

interface Mirror {
  readonly main: string;
  readonly security: string;
}

/** The mirrors in this machine's own sources. */
function mirrors(): Mirror {
  const targets = run('apt-get', [
    'indextargets',
    '--format',
    '$(ORIGIN) $(SITE) $(RELEASE)',
    'Created-By: Packages',
  ]);
  const sites = targets
    .split('\n')
    .map((line) => /^Debian (\S+) (\S+)$/.exec(line.trim()))
    .filter((match) => match !== null);
  const site = (security: boolean): string | undefined =>
    sites.find(([, at, release = '']) => release.includes('-security') === security && !!at)?.[1];
  return {
    main: site(false) ?? 'http://deb.debian.org/debian',
    security: site(true) ?? 'http://deb.debian.org/debian-security',
  };
}

export class Release {
  readonly codename: string;
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;

  /** `folder`: where its state is kept. */
  constructor(codename: string, folder: string) {
    this.codename = codename;
    this.#folder = folder;
    const config = join(folder, 'apt.conf');
    this.#env = { ...process.env, APT_CONFIG: config, LC_ALL: 'C' };
    for (const name of ['lists/partial', 'cache/archives/partial', 'parts'])
      mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, 'status'), '');
    writeFileSync(
      config,
      [
        ['Dir::Etc::SourceList', join(folder, 'sources.list')],
        ['Dir::Etc::SourceParts', join(folder, 'parts')],
        ['Dir::Etc::Preferences', '/dev/null'],
        ['Dir::Etc::PreferencesParts', join(folder, 'parts')],
        ['Dir::State', folder],
        ['Dir::State::Lists', join(folder, 'lists')],
        ['Dir::State::status', join(folder, 'status')],
        ['Dir::Cache', join(folder, 'cache')],
        ['APT::Sandbox::User', ''],
        ['APT::Install-Recommends', 'false'],
        ['Acquire::Retries', '3'],
        ['Acquire::Languages', 'none'],
      ]
        .map(([key, value]) => `${key} "${value}";\n`)
        .join(''),
    );
  }

  /** Fetches the lists unless that was done lately. */
  update(): void {
    const done = join(this.#folder, 'updated');
    if (existsSync(done) && Date.now() - statSync(done).mtimeMs < STALE) return;
    const { main, security } = mirrors();
    const source = (site: string, suite: string): string =>
      `deb [signed-by=${keyring()}] ${site} ${suite} main\n`;
    writeFileSync(
      join(this.#folder, 'sources.list'),
      source(main, this.codename) + source(security, `${this.codename}-security`),
    );
    run('apt-get', ['-q', '-o', 'APT::Update::Error-Mode=any', 'update'], { env: this.#env });
    writeFileSync(done, '');
  }

  /** What a metapackage stands for: the first package that it depends on whose name matches. */
  behind(metapackage: string, name: RegExp): string | undefined {
    const text = run('apt-cache', ['depends', '--important', metapackage], { env: this.#env });
    return text
      .split('\n')
      .map((line) => /^\s*(?:Pre)?Depends: (\S+)$/.exec(line)?.[1])
      .find((found) => found !== undefined && name.test(found));
  }

  /** The packages and everything that they need, by name. */
  closure(packages: readonly string[]): string[] {
    const text = run('apt-get', ['-q', '--print-uris', '-y', 'install', ...packages], { env: this.#env });
    return [...text.matchAll(/^'\S+' (\S+?)_\S+\.deb \d+/gm)].map(([, name = '']) => name);
  }

  /** Downloads the packages into `folder`; which versions, the names of the files tell. */
  download(packages: readonly string[], folder: string): void {
    mkdirSync(folder, { recursive: true });
    run('apt-get', ['-q', 'download', ...packages], { env: this.#env, cwd: folder });
  }
}
