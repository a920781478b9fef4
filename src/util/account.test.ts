import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { accountCanUse, accountOfUid, asAccount, findAccount, ownAccount, parsePasswd } from './account.ts';

const directory = mkdtempSync(join(tmpdir(), 'account-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const passwd = join(directory, 'passwd');
writeFileSync(
  passwd,
  [
    'root:x:0:0:root:/root:/bin/bash',
    '# a comment:x:1:1:::',
    '+::::::',
    'broken:x:12',
    'odd:x:1e3:7:::/bin/sh',
    'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin',
    'postgres:x:26:27::/var/lib/pgsql:/bin/bash',
  ].join('\n'),
);

describe('accounts of the system', () => {
  it('are found in the order of the wanted names, not of the file', () => {
    expect(findAccount(['postgres', 'nobody'], passwd)).toEqual({ name: 'postgres', uid: 26, gid: 27 });
    expect(findAccount(['pg', 'nobody'], passwd)?.uid).toBe(65_534);
    expect(findAccount(['pg'], passwd)).toBeNull();
    expect(accountOfUid(26, passwd)?.name).toBe('postgres');
    expect(accountOfUid(27, passwd)).toBeNull();
  });

  it('are none when the file is missing (an image without accounts)', () => {
    expect(findAccount(['nobody'], join(directory, 'no-such-file'))).toBeNull();
  });

  it('are only taken from lines that are whole', () => {
    const names = parsePasswd('broken:x:12\n+::::::\nodd:x:1e3:7:::/bin/sh\nok:x:1:2:::').map(({ name }) => name);
    expect(names).toEqual(['ok']);
  });
});

describe('what an account can use', () => {
  const self = ownAccount()!;

  it('is found out by trying, with spaces and quotes in the path', () => {
    const path = join(directory, `it's a "path"`);
    mkdirSync(path);
    expect(accountCanUse(self, path, 'write')).toBe(true);
    expect(accountCanUse(self, join(path, 'missing'), 'enter')).toBe(false);
  });

  it.runIf(process.getuid?.() === 0)('depends on the account when we are root', () => {
    const nobody = { name: 'nobody', uid: 65_534, gid: 65_534 };
    const path = join(directory, 'closed');
    mkdirSync(path);
    chmodSync(directory, 0o711);
    chmodSync(path, 0o755);
    expect(accountCanUse(nobody, path, 'enter')).toBe(true);
    expect(accountCanUse(nobody, path, 'write')).toBe(false);
    chmodSync(directory, 0o700);
    expect(accountCanUse(nobody, path, 'enter')).toBe(false);
  });

  it('changes nothing for our own account, since only root may change', () => {
    expect(asAccount(self)).toEqual({});
    expect(asAccount({ name: 'other', uid: self.uid + 1, gid: 5 })).toEqual({ uid: self.uid + 1, gid: 5 });
  });
});
