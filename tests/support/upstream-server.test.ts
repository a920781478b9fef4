import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startCall } from './fake-client.ts';
import { connectRaw, requestText, sendRaw } from './http-raw.ts';
import { createCertificateAuthority } from './tls.ts';
import { startUpstream, type UpstreamServer } from './upstream-server.ts';
import type { UpstreamMode } from './upstream-server-protocol.ts';

const MESSAGES = [{ role: 'user', content: 'hello' }];

describe('the upstream server of the tests', () => {
  let upstream: UpstreamServer;
  beforeAll(async () => {
    upstream = await startUpstream();
  });
  afterAll(() => upstream.stop());
  beforeEach(async () => {
    await upstream.script({});
    await upstream.forget();
  });

  it('runs in another process', () => {
    expect(upstream.pid).not.toBe(process.pid);
  });

  it('answers JSON, and keeps the exact bytes and headers that arrived', async () => {
    const body = '{ "model":"m",\t"messages":[{"role":"user","content":"\\u00e9é"}] }';
    const sent = requestText('POST', '/v1/chat/completions', { 'X-Mixed-Case': 'yes', 'x-mixed-case': 'twice' }, body);
    const answer = await sendRaw(upstream, sent);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text()).usage.total_tokens).toBe(18);
    const [seen] = await upstream.requests();
    expect(Buffer.from(seen?.bodyBase64 ?? '', 'base64').toString()).toBe(body);
    expect(seen?.headers).toContainEqual(['X-Mixed-Case', 'yes']);
    expect(seen?.headers).toContainEqual(['x-mixed-case', 'twice']);
    expect(seen?.billed).toEqual({ promptTokens: 11, completionTokens: 7 });
    expect(seen?.end).toBe('complete');
  });

  it('streams, split wherever the script says, with usage only on demand', async () => {
    const script = { chunks: 3, splitBytes: 7 };
    const plain = ask({ stream: true, upstream_script: script });
    expect(await plain.end).toBe('complete');
    expect(plain.text()).not.toContain('usage');
    expect(plain.text().endsWith('data: [DONE]\n\n')).toBe(true);
    const counted = ask({ stream: true, stream_options: { include_usage: true }, upstream_script: script });
    await counted.end;
    expect(counted.text()).toContain('"completion_tokens":7');
  });

  it.each<[UpstreamMode, boolean]>([
    ['cut-event', true],
    ['cut-event', false],
    ['cut-utf8', true],
    ['cut-utf8', false],
  ])('%s breaks the answer in the middle (stream: %s)', async (mode, stream) => {
    const call = ask({ stream, upstream_script: { mode } });
    expect(await call.end).toBe('broken');
    expect(call.bytesRead()).toBeGreaterThan(0);
    expect(call.text().endsWith('\n\n')).toBe(false);
    if (mode === 'cut-utf8') expect(call.text()).toContain('\ufffd');
    const [seen] = await upstream.requests();
    expect(seen?.end).toBe('cut');
  });

  it.each<[UpstreamMode, number, string]>([
    ['error', 500, 'application/json'],
    ['html', 502, 'text/html'],
    ['garbage', 200, 'application/json'],
  ])('%s answers %s as %s', async (mode, status, type) => {
    const call = ask({ model: mode });
    const head = await call.head;
    expect([head.status, head.headers['content-type']]).toEqual([status, type]);
    await call.end;
  });

  it('answers a scripted status with scripted headers, also told by the model name', async () => {
    await upstream.script({ headers: { 'retry-after': '7' } });
    const head = await ask({ model: 'error?status=429' }).head;
    expect([head.status, head.headers['retry-after']]).toEqual([429, '7']);
  });

  it.each<UpstreamMode>(['reset', 'not-http'])('%s is no answer', async (mode) => {
    await expect(ask({ upstream_script: { mode } }).head).rejects.toThrow();
  });

  it.each<UpstreamMode>(['hang', 'no-end'])(
    '%s stays open until the peer leaves, and says when it left',
    async (mode) => {
      await using call = ask({ stream: true, upstream_script: { mode } });
      const seen = await upstream.waitFor((list) => list[0]);
      expect(seen.end).toBe('open');
      if (mode === 'no-end') await call.read(100);
      call.leave();
      const gone = await upstream.waitFor((list) => list.find(({ end }) => end === 'peer-closed'));
      expect(gone.endedAtMs).toBeGreaterThanOrEqual(gone.receivedAtMs);
    },
  );

  it('bills a left stream for what was sent', async () => {
    await using call = ask({ stream: true, upstream_script: { chunks: 100, completionTokens: 100, chunkMs: 5 } });
    await call.read(200);
    call.leave();
    const seen = await upstream.waitFor((list) => list.find(({ end }) => end === 'peer-closed'));
    expect(seen.billed.completionTokens).toBeGreaterThan(0);
    expect(seen.billed.completionTokens).toBeLessThan(100);
  });

  it('feels a slow reader: a flood stalls although much more is on offer', async () => {
    await using call = startCall({
      url: upstream.url,
      key: 'k',
      body: { model: 'flood', messages: MESSAGES, stream: true },
      bytesPerSecond: 1_000_000,
      keep: false,
    });
    await call.read(1_000_000);
    const [seen] = await upstream.requests();
    expect(seen?.end).toBe('open');
    expect(seen?.bytesTaken).toBeLessThan(20_000_000);
    expect(call.bytesRead()).toBeLessThan(3_000_000);
  });

  it('refuses connections and accepts them again on the same port', async () => {
    await upstream.refuse();
    await expect(connectRaw(upstream)).rejects.toThrow(/ECONNREFUSED/);
    await upstream.listen();
    expect((await ask({}).head).status).toBe(200);
  });

  it('answers pipelined requests in order, each seen on the same connection', async () => {
    await using connection = await connectRaw(upstream);
    const body = JSON.stringify({ model: 'm', messages: MESSAGES });
    const one = requestText('POST', '/v1/chat/completions', {}, body);
    await connection.write(Buffer.concat([one, one]));
    const first = JSON.parse((await connection.answer()).text());
    const second = JSON.parse((await connection.answer()).text());
    expect(first.id).not.toBe(second.id);
    const seen = await upstream.requests();
    expect(seen[0]?.connection).toBe(seen[1]?.connection);
  });

  function ask(body: object) {
    return startCall({ url: upstream.url, key: 'k', body: { model: 'm', messages: MESSAGES, ...body } });
  }
});

describe('the upstream server with TLS', () => {
  it('is trusted through its private authority only, and knows the client by its certificate', async () => {
    await using authority = await createCertificateAuthority();
    const { cert, key } = await authority.serverCertificate();
    const client = await authority.clientCertificate('claviger-worker');
    await using upstream = await startUpstream({ tls: { cert, key }, clientCa: authority.ca });
    await expect(connectRaw({ port: upstream.port, ca: (await stranger()).ca })).rejects.toThrow(/certificate/);

    const socket = connectTls({
      port: upstream.port,
      host: '127.0.0.1',
      ca: authority.ca,
      cert: client.cert,
      key: client.key,
    });
    const answered = new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
    socket.write(requestText('POST', '/v1/chat/completions', {}, JSON.stringify({ model: 'm', messages: MESSAGES })));
    expect(await answered).toContain('200 OK');
    socket.destroy();
    const [seen] = await upstream.requests();
    expect(seen?.clientCertificate).toBe('claviger-worker');
  });
});

async function stranger() {
  const other = await createCertificateAuthority('somebody else');
  await other.remove();
  return other;
}
