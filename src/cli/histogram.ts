/**
 * Times of many operations in little memory: 64 buckets for every power of two, so a percentile is off by less than
 * one part in 64. Values are whole numbers from 0 to 2^32 - 1.
 */
const SUB_BITS = 6;
const SUB = 1 << SUB_BITS;
/** Values below it have a bucket each. */
const LINEAR = 2 * SUB;
const BUCKETS = LINEAR + (31 - SUB_BITS) * SUB;
const LARGEST = 0xffffffff;

function bucketOf(value: number): number {
  if (value < LINEAR) return value;
  const shift = 31 - Math.clz32(value) - SUB_BITS;
  return shift * SUB + (value >>> shift);
}

/** The largest value of a bucket. */
function topOf(bucket: number): number {
  if (bucket < LINEAR) return bucket;
  const shift = Math.floor(bucket / SUB) - 1;
  return (bucket - shift * SUB + 1) * 2 ** shift - 1;
}

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  count = 0;
  min = 0;
  max = 0;
  #sum = 0;

  record(value: number): void {
    const whole = Math.min(Math.max(Math.round(value), 0), LARGEST);
    const bucket = bucketOf(whole);
    this.#counts[bucket] = this.#counts[bucket]! + 1;
    this.min = this.count === 0 ? whole : Math.min(this.min, whole);
    this.max = Math.max(this.max, whole);
    this.count++;
    this.#sum += whole;
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.#sum / this.count;
  }

  /** What `percent` of the values do not exceed; 0 when there are none. */
  percentile(percent: number): number {
    let left = Math.max(1, Math.ceil((this.count * percent) / 100));
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#counts[bucket]!;
      if (left <= 0) return Math.min(topOf(bucket), this.max);
    }
    return this.max;
  }
}
