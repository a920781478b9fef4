/**
 * An OpenAI-compatible provider with books of its own: one line per call, on disk before the first byte of the answer, as a
 * provider bills. The prompt says what it costs and how long it takes: `{"id","prompt","completion","delayMs","chunks"}`.
 */
import { createWriteStream, fdatasync, openSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const descriptor = openSync(process.argv[2], 'a');
const lines = createWriteStream('', { fd: descriptor });

const server = createServer(async (req, res) => {
  const pieces = [];
  try {
    for await (const piece of req) pieces.push(piece);
  } catch {
    // The caller was killed in the middle of its request: nothing to answer, nothing to bill.
    return;
  }
  const body = JSON.parse(Buffer.concat(pieces).toString('utf8'));
  const call = JSON.parse(body.messages[0].content);
  await bill(call);
  if (body.stream === true) await stream(res, body, call);
  else await whole(res, body, call);
});
server.on('clientError', (_error, socket) => socket.destroy());
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('disconnect', () => process.exit(0));

function bill({ id, prompt, completion }) {
  return new Promise((resolve, reject) => {
    lines.write(`${JSON.stringify({ id, prompt, completion })}\n`, (failed) => {
      if (failed) reject(failed);
      else fdatasync(descriptor, (error) => (error ? reject(error) : resolve()));
    });
  });
}

async function whole(res, body, call) {
  await delay(call.delayMs);
  const message = { role: 'assistant', content: 'word '.repeat(call.completion) };
  const answer = { ...start(body, call, 'chat.completion'), choices: [{ index: 0, message, finish_reason: 'stop' }] };
  const text = JSON.stringify({ ...answer, usage: usage(call) });
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
}

async function stream(res, body, call) {
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  const head = start(body, call, 'chat.completion.chunk');
  const send = (event) => res.write(`data: ${JSON.stringify(event)}\n\n`);
  for (let i = 0; i < call.chunks && !res.destroyed; i++) {
    send({ ...head, choices: [{ index: 0, delta: { content: 'word ' }, finish_reason: null }] });
    await delay(call.delayMs / call.chunks);
  }
  send({ ...head, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
  if (body.stream_options?.include_usage === true) send({ ...head, choices: [], usage: usage(call) });
  res.end('data: [DONE]\n\n');
}

function start(body, { id }, object) {
  return { id: `chatcmpl-${id}`, object, created: 1_760_000_000, model: body.model };
}

function usage({ prompt, completion }) {
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}
