import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../tests/support/silent-log.ts';
import type { JoinRequest } from '../feed/join.ts';
import { systemClock } from '../util/clock.ts';
import { makeSigningPair, publicKeyOf, readPrivateKey } from '../util/ed25519.ts';
import { OperatorError } from '../util/operator-error.ts';
import { type EnrolmentOptions, enrol } from './enrolment.ts';
import { isRenewalDue, keepRenewing, type RenewalOptions } from './enrolment-renewal.ts';
import { IdentityOnDisk, type JoinedIdentity, nextPrivateKey, readIdentity, writeIdentity } from './joined-identity.ts';

const INSTANCE = '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a90';
const INSTALLATION = 'c7b6a1f2-0000-4000-8000-000000000001';
const TOKEN = `cjt-${'t'.repeat(43)}`;
const WEEK_MS = 7 * 86_400_000;

let dataDir: string;
let servers: Server[];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'claviger-enrolment-'));
  servers = [];
});
afterEach(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  rmSync(dataDir, { recursive: true, force: true });
});

describe('a worker at its first start', () => {
  it('joins with a key that it made, and keeps who it is where nobody else can read it', async () => {
    const { address, asked } = await admin([[200, answer()]]);
    const identity = await enrol(options({ controlPlaneUrls: [address] }));
    expect(identity).toMatchObject({ region: 'eu', installation: INSTALLATION, sealingKey: 'sealing key' });
    expect(asked[0]).toMatchObject({ token: TOKEN, instanceId: INSTANCE, region: null, role: 'worker' });
    expect(asked[0]!.publicKey).toBe(publicKeyOf(readPrivateKey(identity.privateKey)));

    const directory = join(dataDir, 'identity');
    expect(readdirSync(directory)).toEqual(['identity.json']);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, 'identity.json')).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(directory, 'identity.json'), 'utf8')).not.toContain(TOKEN);
  });

  it('offers the same key again when the answer was lost, also after a restart', async () => {
    const { address, asked } = await admin([
      [0, ''],
      [0, ''],
      [200, answer()],
    ]);
    await expect(enrol(options({ controlPlaneUrls: [address] }, { patienceMs: 0 }))).rejects.toThrow(OperatorError);
    await enrol(options({ controlPlaneUrls: [address] }));
    expect(asked).toHaveLength(3);
    expect(new Set(asked.map(({ publicKey }) => publicKey)).size).toBe(1);
  });

  it('goes from address to address until one answers, and ends with the last word when none does', async () => {
    const [broken, old, good] = [await admin([[503, '{}']]), await admin([[404, '']]), await admin([[200, answer()]])];
    const addresses = [broken, old, good].map(({ address }) => address);
    const identity = await enrol(options({ controlPlaneUrls: ['http://127.0.0.1:1', ...addresses] }));
    expect(identity.region).toBe('eu');

    rmSync(join(dataDir, 'identity'), { recursive: true });
    const nobody = enrol(options({ controlPlaneUrls: ['http://127.0.0.1:1'] }, { patienceMs: 0 }));
    await expect(nobody).rejects.toThrow(/No admin of CONTROL_PLANE_URL .* ECONNREFUSED/);
  });

  it('ends with the reason when it is refused, and does not ask elsewhere', async () => {
    const refusal = JSON.stringify({ error: 'The join token has been used.', code: 'token_used' });
    const [first, second] = [await admin([[403, refusal]]), await admin([[200, answer()]])];
    const attempt = enrol(options({ controlPlaneUrls: [first.address, second.address] }));
    await expect(attempt).rejects.toThrow(new OperatorError('The join token has been used.'));
    expect(second.asked).toEqual([]);
  });

  it('needs a token', async () => {
    await expect(enrol(options({ joinToken: null }))).rejects.toThrow(/claviger fleet token/);
  });
});

describe('a worker that joined before', () => {
  it('asks nobody', async () => {
    writeIdentity(dataDir, identityOf());
    expect(await enrol(options({ joinToken: null, controlPlaneUrls: ['http://127.0.0.1:1'] }))).toEqual(identityOf());
  });

  it('does not start as somebody else: in another region, or with the files of two instances', async () => {
    writeIdentity(dataDir, identityOf());
    await expect(enrol(options({}, { region: 'us' }))).rejects.toThrow(/CLAVIGER_REGION is us.*joined region eu/);
    const instanceId = INSTANCE.replace('3', '4');
    await expect(enrol(options({}, { instanceId }))).rejects.toThrow(new RegExp(`${INSTANCE}.*${instanceId}`));
  });

  it('does not start with an identity that is damaged or open to others, and says which file', async () => {
    const path = join(dataDir, 'identity', 'identity.json');
    writeIdentity(dataDir, identityOf());
    const whole = readFileSync(path, 'utf8');
    const lines = whole.split('\n');
    const damaged = [
      '',
      '{}',
      whole.slice(0, whole.length / 2),
      whole.replace('"format": 1', '"format": 2'),
      ...lines.slice(1, -2).map((line) => whole.replace(line, '').replace(/,(\s*)}/, '$1}')),
    ];
    for (const text of damaged) {
      writeFileSync(path, text);
      await expect(enrol(options({})), text).rejects.toThrow(`${path} can not be used`);
    }
    writeFileSync(path, whole);
    chmodSync(path, 0o644);
    await expect(enrol(options({}))).rejects.toThrow(/chmod 600/);
  });
});

describe('a credential', () => {
  it('is renewed when half of its life is over, or when nobody knows how much is', () => {
    const at = { renewedAtMs: 1_000_000 * WEEK_MS, validForMs: WEEK_MS };
    const due = (afterMs: number) => isRenewalDue(at, at.renewedAtMs + afterMs);
    expect([0, WEEK_MS / 2 - 1, WEEK_MS / 2, WEEK_MS * 3].map(due)).toEqual([false, false, true, true]);
    expect([-WEEK_MS + 1, -WEEK_MS - 1].map(due)).toEqual([false, true]);
  });

  it('that was renewed is used by processes that hold the old one, when they look again', async () => {
    writeIdentity(dataDir, identityOf());
    const held = new IdentityOnDisk(dataDir, identityOf());
    expect(held.reload()).toBe(false);
    const { renewed, posts } = await renewOnce([{ status: 200, body: JSON.stringify({ validForMs: WEEK_MS }) }]);
    expect(renewed.privateKey).not.toBe(identityOf().privateKey);
    expect(posts).toEqual([{ path: '/feed/v1/renew', publicKey: publicKeyOf(readPrivateKey(renewed.privateKey)) }]);
    expect(held.reload()).toBe(true);
    expect(publicKeyOf(held.current().privateKey)).toBe(posts[0]!.publicKey);
    expect(held.reload()).toBe(false);
  });

  it('is offered with the same new key until that was taken, whatever fails in between', async () => {
    writeIdentity(dataDir, identityOf());
    const { posts } = await renewOnce([
      new Error('no answer'),
      { status: 503, body: '' },
      { status: 200, body: 'not an answer' },
      { status: 200, body: JSON.stringify({ validForMs: WEEK_MS }) },
    ]);
    expect(posts).toHaveLength(4);
    expect(new Set(posts.map(({ publicKey }) => publicKey)).size).toBe(1);
    // Taken: the next one is another.
    const { privateKey } = readIdentity(dataDir)!;
    expect(nextPrivateKey(dataDir, privateKey)).not.toBe(privateKey);
  });
});

/** Renews with a clock on which it is time, until it has worked. */
async function renewOnce(answers: ({ status: number; body: string } | Error)[]) {
  const leaving = new AbortController();
  const posts: { path: string; publicKey: string }[] = [];
  let nowMs = identityOf().renewedAtMs + WEEK_MS;
  const transport: RenewalOptions['transport'] = {
    async post(path, body) {
      posts.push({ path, publicKey: JSON.parse(String(body)).publicKey });
      const next = answers.shift()!;
      if (answers.length === 0) {
        // Nothing is due any more after this one.
        nowMs += 1;
        setImmediate(() => leaving.abort());
      }
      if (next instanceof Error) throw next;
      return next;
    },
  };
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
  const identity = readIdentity(dataDir)!;
  await keepRenewing({ dataDir, identity, transport, clock, log: silentLog, signal: leaving.signal, lookMs: 1 });
  return { posts, renewed: readIdentity(dataDir)! };
}

const pair = makeSigningPair();
const installationPair = makeSigningPair();

function answer(): string {
  const { format, privateKey, renewedAtMs, ...joined } = identityOf();
  return JSON.stringify(joined);
}

function identityOf(): JoinedIdentity {
  return {
    format: 1,
    instanceId: INSTANCE,
    region: 'eu',
    role: 'worker',
    installation: INSTALLATION,
    installationKey: installationPair.publicKey,
    sealingKey: 'sealing key',
    validForMs: WEEK_MS,
    privateKey: pair.privateKey,
    renewedAtMs: 1_767_225_600_000,
  };
}

function options(
  settings: Partial<EnrolmentOptions['settings']>,
  rest: Partial<EnrolmentOptions> = {},
): EnrolmentOptions {
  return {
    settings: {
      controlPlaneUrls: [],
      dataDir,
      joinToken: TOKEN,
      outbound: { httpsProxy: null, httpProxy: null, noProxy: [], caFile: null, sslVerify: true },
      ...settings,
    },
    instanceId: INSTANCE,
    region: null,
    version: '0.0.0',
    clock: systemClock,
    random: () => 0,
    log: silentLog,
    ...rest,
  };
}

/** Answers join requests in this order, the last answer from then on; status 0 cuts the connection. */
async function admin(answers: [status: number, body: string][]) {
  const asked: JoinRequest[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => {
      body += piece;
    });
    request.on('end', () => {
      expect(request.url).toBe('/feed/v1/join');
      asked.push(JSON.parse(body));
      const [status, text] = answers.length > 1 ? answers.shift()! : answers[0]!;
      if (status === 0) response.destroy();
      else response.writeHead(status).end(text);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}
