/**
 * The anchor: what a relay costs that does only what it can not leave out. It looks a key up by its SHA-256, parses the
 * request, replaces the model, sends it with undici's `dispatch`, relays the answer, and reads the usage out of it when it
 * is no stream.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { Pool } from 'undici';

const [port, key, upstream, upstreamTls, caPath] = process.argv.slice(2);
const keys = new Map([[createHash('sha256').update(key).digest('hex'), { spent: 0 }]]);
const options = { connections: 128, pipelining: 1, connect: { ca: readFileSync(caPath) } };
const models = new Map([
  ['bench', new Pool(upstream, options)],
  ['bench-tls', new Pool(upstreamTls, options)],
]);

http
  .createServer((req, res) => {
    const chunks = [];
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
      const digest = createHash('sha256').update(String(req.headers.authorization).slice(7)).digest('hex');
      const owner = keys.get(digest);
      if (owner === undefined) return res.writeHead(401).end();
      const body = JSON.parse(Buffer.concat(chunks));
      const pool = models.get(body.model);
      body.model = 'gpt-bench';
      const headers = { 'content-type': 'application/json', authorization: 'Bearer sk-upstream' };
      const answer = [];
      pool.dispatch(
        { path: '/v1/chat/completions', method: 'POST', headers, body: JSON.stringify(body) },
        {
          onRequestStart: (controller) => res.on('drain', () => controller.resume()),
          onResponseStart: (_, status, { connection, 'transfer-encoding': framing, ...head }) =>
            res.writeHead(status, head),
          onResponseData: (controller, chunk) => {
            if (!body.stream) answer.push(chunk);
            else if (!res.write(chunk)) controller.pause();
          },
          onResponseEnd: () => {
            if (body.stream) return res.end();
            const whole = Buffer.concat(answer);
            owner.spent += JSON.parse(whole).usage.total_tokens;
            res.end(whole);
          },
          onResponseError: () => res.destroy(),
        },
      );
    });
  })
  .listen(Number(port), '127.0.0.1');
