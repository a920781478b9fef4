import { describe, expect, it } from 'vitest';
import { BlobPool } from './blob-pool.ts';
import { RecordList } from './record-list.ts';
import { DECODED_MAX, TEXT_RECORD_BYTES, TextTable } from './text-table.ts';

function table(): TextTable {
  return new TextTable(new RecordList(TEXT_RECORD_BYTES), new BlobPool());
}

describe('TextTable', () => {
  it('keeps a value once, until its last user has gone', () => {
    const texts = table();
    const first = texts.add(['gpt-4', 'claude']);
    expect(texts.add(['gpt-4', 'claude'])).toBe(first);
    expect(texts.value(first)).toBe(texts.value(first));
    expect(texts.count).toBe(1);
    texts.release(first);
    expect(texts.value(first)).toEqual(['gpt-4', 'claude']);
    texts.release(first);
    expect(texts.count).toBe(0);
    // Its number is used again, and nobody is told the former value.
    expect(texts.add('other')).toBe(first);
    expect(texts.value(first)).toBe('other');
  });

  it('tells values apart whose hashes are the same', () => {
    const texts = table();
    const [one, other] = ['team-1712299', 'team-2422232'].map((name) => texts.add(name)) as [number, number];
    expect(texts.hashOf(one)).toBe(texts.hashOf(other));
    expect([texts.value(one), texts.value(other)]).toEqual(['team-1712299', 'team-2422232']);
    texts.release(one);
    expect(texts.add('team-2422232')).toBe(other);
  });

  it('gives every value again when it holds more than are kept decoded', () => {
    const texts = table();
    const ids = Array.from({ length: DECODED_MAX + 10 }, (_, index) => texts.add(`t${index}`));
    for (let round = 0; round < 2; round += 1) {
      expect(ids.filter((id, index) => texts.value(id) !== `t${index}`)).toEqual([]);
    }
  });
});
