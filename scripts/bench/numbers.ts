/** What many measurements say together. */

/** One measurement of one party. */
export interface Measured {
  /** Commands per second. */
  readonly rate: number;
  /** Microseconds of processor time per command, of all threads; undefined where the system does not tell. */
  readonly serverCpu: number | undefined;
  readonly clientCpu: number | undefined;
  /** Microseconds; the resolution is that of a turn of the client's event loop. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** Several of them: the median of each number, and how far the rates were apart. */
export interface Summary extends Measured {
  readonly rates: readonly number[];
  /** (highest - lowest) / median of the rates. */
  readonly spread: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return 0;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function summary(measured: readonly Measured[]): Summary {
  const of = (key: keyof Measured): number[] =>
    measured.map((each) => each[key]).filter((value) => value !== undefined);
  const known = (key: keyof Measured): number | undefined => {
    const values = of(key);
    return values.length === 0 ? undefined : median(values);
  };
  const rates = of('rate');
  const rate = median(rates);
  return {
    rate,
    rates,
    spread: rate === 0 ? 0 : (Math.max(...rates) - Math.min(...rates)) / rate,
    serverCpu: known('serverCpu'),
    clientCpu: known('clientCpu'),
    p50: median(of('p50')),
    p99: median(of('p99')),
    p999: median(of('p999')),
  };
}

/**
 * The ratio of two subjects that took turns: the median of the ratios of neighbours, so that what disturbs the machine
 * for longer than two measurements disturbs both.
 */
export function ratio(subject: Summary, yardstick: Summary): number {
  const pairs = subject.rates.map((rate, i) => rate / (yardstick.rates[i] ?? yardstick.rate));
  return median(pairs);
}

/** Latencies in whole microseconds, exactly, up to a tenth of a second. */
export class Latencies {
  readonly #counts = new Uint32Array(100_001);
  #total = 0;

  add(microseconds: number): void {
    this.#counts[microseconds < 100_000 ? microseconds | 0 : 100_000]!++;
    this.#total++;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }

  percentile(percent: number): number {
    let left = Math.ceil((this.#total * percent) / 100);
    for (let at = 0; at < this.#counts.length; at++) {
      left -= this.#counts[at]!;
      if (left <= 0) return at;
    }
    return 0;
  }
}
