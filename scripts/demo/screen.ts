/** What is seen of the demonstration, as lines of a terminal. */
import type { WhyPath } from '../../src/initiator/why.ts';
import type { View } from './play.ts';

const ESC = '\u001b[';
const paint = (code: number) => (text: string) => `${ESC}${code}m${text}${ESC}0m`;
const bold = paint(1);
const dim = paint(2);
const red = paint(31);
const green = paint(32);
const yellow = paint(33);
const BARS = ' ▁▂▃▄▅▆▇█';
/** Timers that run all the time, and say nothing here. */
const USUAL = new Set(['keep alive', 'oldest command']);

/** Rates of the moment, per second. */
export interface Rates {
  readonly iops: number;
  /** Of each line, in the order of the view's. */
  readonly bytes: readonly number[];
  /** IOPS before, the oldest first. */
  readonly history: readonly number[];
}

/** Heights that compare the numbers, the largest as one full block. */
export function sparkline(values: readonly number[]): string {
  const most = Math.max(1, ...values);
  return values.map((value) => BARS[Math.ceil((value / most) * 8)] ?? ' ').join('');
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1).padStart(5)} s`;

function pathLine({ lines }: View, path: WhyPath, rates: Rates): string {
  const at = lines.findIndex(({ port }) => port === path.trsvcid);
  const rate = ((rates.bytes[at] ?? 0) / 1e6).toFixed(1).padStart(8);
  const sign = path.usable ? green('●') : lines[at]?.whole === false ? red('✂') : yellow('○');
  const state = [path.name, path.controllerState.padEnd(10), (path.anaState ?? 'not known').padEnd(15)];
  const colour = path.usable ? green : yellow;
  return ` ${sign} path ${at + 1}  ${state.join('  ')} ${rate} MB/s  ${colour(path.is.padEnd(13))} ${dim(path.why)}`;
}

/** The whole picture. */
export function frame(view: View, rates: Rates): string[] {
  const { why } = view;
  const { requeued, held, delayed } = why.waiting;
  const place = ({ trsvcid }: WhyPath): number => view.lines.findIndex(({ port }) => port === trsvcid);
  const paths = [...why.paths].sort((a, b) => place(a) - place(b));
  const timers = why.timers.filter(({ name }) => !USUAL.has(name)).slice(0, 5);
  return [
    bold(`nvme-tcp  ${view.step}/${view.steps}  ${view.seconds.toFixed(1)} s  target: ${view.target}`),
    bold(view.title),
    '',
    `${bold(view.disk)}  ${why.verdict}`,
    '',
    ...(paths.length === 0 ? [yellow(' ○ no path')] : paths.map((path) => pathLine(view, path, rates))),
    '',
    ` IOPS ${Math.round(rates.iops).toLocaleString('en').padStart(8)}  ${green(sparkline(rates.history))}`,
    ` in flight ${why.inFlight}   waiting for a path ${requeued}   held ${held}   delayed ${delayed}`,
    ` ${view.operations.toLocaleString('en')} I/Os, ${view.verified.toLocaleString('en')} blocks verified, ${view.failed} failed`,
    '',
    ...(timers.length === 0 ? [] : [dim(' in        of, timer, what it does')]),
    ...timers.map(
      ({ of, name, inMs, then }) => ` ${yellow(seconds(inMs))}  ${of}: ${name}${dim(`, ${then}`)}`,
    ),
  ];
}

/** Draws views over each other on a terminal, until it is closed. */
export class Screen {
  readonly #out: NodeJS.WriteStream;
  readonly #history: number[] = [];
  #last: { readonly at: number; readonly view: View } | undefined = undefined;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
    // The other screen, without wrapping and cursor: what was there comes back.
    out.write(`${ESC}?1049h${ESC}?25l${ESC}?7l`);
  }

  draw(view: View): void {
    const at = performance.now();
    const last = this.#last;
    this.#last = { at, view };
    if (last === undefined) return;
    const span = Math.max(1, at - last.at) / 1000;
    const iops = (view.operations - last.view.operations) / span;
    this.#history.push(iops);
    if (this.#history.length > 60) this.#history.shift();
    const bytes = view.lines.map((line, i) => (line.bytes - last.view.lines[i]!.bytes) / span);
    const lines = frame(view, { iops, bytes, history: this.#history }).slice(0, this.#out.rows - 1);
    this.#out.write(`${ESC}H${lines.map((line) => `${line}${ESC}K\n`).join('')}${ESC}J`);
  }

  close(): void {
    this.#out.write(`${ESC}?7h${ESC}?25h${ESC}?1049l`);
  }
}
