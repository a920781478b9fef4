import { expect, it } from 'vitest';
import { crc32 } from './crc.ts';

it('is the CRC-32 of zip and gzip, and can be continued', () => {
  expect(crc32('123456789')).toBe(0xcbf43926);
  expect(crc32(Buffer.from('6789'), crc32('12345'))).toBe(0xcbf43926);
  expect(crc32('')).toBe(0);
});
