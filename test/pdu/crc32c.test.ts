import fc from 'fast-check';
import t from 'tap';
import { crc32c } from '../../src/runtime/crc32c.ts';

const crc = (bytes: Iterable<number>): number => crc32c(Uint8Array.from(bytes), 0);

t.test('known values (RFC 3720, appendix B.4, and the check value of CRC-32C)', (t) => {
  t.equal(crc(new TextEncoder().encode('123456789')), 0xe3069283);
  t.equal(crc([]), 0);
  t.equal(crc(new Uint8Array(32)), 0x8a9136aa);
  t.equal(crc(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  t.equal(crc(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  t.equal(crc(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c);
  t.end();
});

t.test('in pieces as in one, and as bit by bit', (t) => {
  const slow = (bytes: Uint8Array): number => {
    let value = 0xffffffff;
    for (const byte of bytes) {
      value ^= byte;
      for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
    }
    return ~value >>> 0;
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
      const whole = crc32c(bytes, 0);
      return (
        whole === slow(bytes) && whole === crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut), 0))
      );
    }),
  );
  t.end();
});
