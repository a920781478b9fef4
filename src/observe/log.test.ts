import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { OperatorError } from '../util/operator-error.ts';
import { createLog, LOG_VALUE_CHARS_MAX, type LogLevel } from './log.ts';

function collect(options: { level?: LogLevel; json?: boolean } = {}) {
  const lines: string[] = [];
  const log = createLog({
    level: options.level ?? 'debug',
    json: options.json ?? true,
    write: (text) => lines.push(text),
    nowMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  });
  return { log, lines, records: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe('JSON lines', () => {
  it('carry time, level, message and the fields', () => {
    const { log, records } = collect();
    log.info({ port: 4000 }, 'listening');
    expect(records()).toEqual([{ time: '2026-01-02T03:04:05.006Z', level: 'info', message: 'listening', port: 4000 }]);
  });

  it('are one line each, whatever is in them', () => {
    const { log, lines } = collect();
    log.info({ text: 'a\nb\u2028c' }, 'two\nlines');
    expect(lines[0]?.trimEnd().includes('\n')).toBe(false);
  });

  it('keep time, level and message when a field has the same name', () => {
    const { log, records } = collect();
    log.info({ level: 9, message: 'x' }, 'real');
    expect(records()[0]).toMatchObject({ level: 'info', message: 'real', level_: 9, message_: 'x' });
  });

  it('survive cycles and print big integers', () => {
    const { log, records } = collect();
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    log.info({ cycle }, 'a');
    log.info({ spend: 10n, nested: { spend: 11n } }, 'b');
    expect(records()[0]?.unprintable).toContain('circular');
    expect(records()[1]).toMatchObject({ spend: '10', nested: { spend: '11' } });
  });

  it('show an error with its causes', () => {
    const { log, records } = collect();
    log.error({ error: new TypeError('outer', { cause: new Error('inner') }) }, 'failed');
    expect(records()[0]?.error).toMatchObject({ type: 'TypeError', message: 'outer', cause: { message: 'inner' } });
  });

  it('cut values that are too long and say so', () => {
    const { log, records } = collect();
    log.info({ body: 'x'.repeat(LOG_VALUE_CHARS_MAX + 5) }, 'm');
    expect(records()[0]?.body).toMatch(/x\.\.\. \(5 more characters\)$/);
  });
});

describe('lines for people', () => {
  it('put the message first and quote only what needs it', () => {
    const { log, lines } = collect({ json: false });
    log.warn({ path: '/v1/models', note: 'two words', empty: null }, 'slow');
    expect(lines).toEqual(['2026-01-02T03:04:05.006Z WARN  slow path=/v1/models note="two words"\n']);
  });

  it('add the stack of an unexpected error and leave it out for one with a code or for the operator', () => {
    const { log, lines } = collect({ json: false });
    log.error({ error: new Error('surprise') }, 'm');
    log.error({ error: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) }, 'm');
    log.error({ error: new OperatorError('Set the variable.') }, 'm');
    expect(lines[0]).toContain('\n    Error: surprise\n');
    for (const line of lines.slice(1)) expect(line.trimEnd()).not.toContain('\n');
    expect(lines).toHaveLength(3);
  });
});

describe('levels', () => {
  it('below the threshold write nothing', () => {
    const { log, lines } = collect({ level: 'warn' });
    log.debug({}, 'd');
    log.info({}, 'i');
    log.warn({}, 'w');
    log.error({}, 'e');
    expect(lines).toHaveLength(2);
    expect(log.isEnabled('info')).toBe(false);
    expect(log.isEnabled('error')).toBe(true);
  });
});

describe('children', () => {
  it('add their fields and share hidden secrets with their parent', () => {
    const { log, records, lines } = collect();
    const child = log.child({ slot: 1 });
    child.hide('correct horse battery');
    log.info({ a: 'correct horse battery' }, 'm');
    child.info({ b: 2 }, 'correct horse battery');
    expect(records()[1]).toMatchObject({ slot: 1, b: 2 });
    expect(lines.join('')).not.toContain('correct horse');
  });
});

describe.each([true, false])('redaction (json: %s)', (json) => {
  const secret = 'pa"ss\\wo\nrd-123';

  it('hides a registered secret in message, field, nested field, error and stack', () => {
    const { log, lines } = collect({ json });
    log.hide(secret);
    log.hide(null);
    const error = new Error(`login with ${secret} failed`, { cause: new Error(secret) });
    log.error({ a: secret, deep: { list: [{ secret }] }, error }, `bad ${secret}`);
    expect(lines.join('')).not.toContain('wo\nrd');
    expect(lines.join('')).not.toContain('wo\\nrd');
    expect(lines.join('')).toContain('[hidden]');
    if (json) expect(() => JSON.parse(lines[0]!)).not.toThrow();
  });

  it('hides keys, authorization headers and passwords in URLs that nobody registered', () => {
    const { log, lines } = collect({ json });
    log.info(
      { header: 'Bearer abcdef123456', url: 'postgresql://me:s3cr@t/x@db:5432/a' },
      'key sk-c1abcdefghijklmnop used',
    );
    const text = lines.join('');
    for (const hidden of ['abcdef123456', 's3cr', 'sk-c1abc']) expect(text).not.toContain(hidden);
    expect(text).toContain('@db:5432');
    if (json) expect(() => JSON.parse(lines[0]!)).not.toThrow();
  });
});

describe('standard output', () => {
  const program = (body: string): string[] => [
    '--import',
    'tsx',
    '--input-type=module',
    '--eval',
    `import { createLog } from ${JSON.stringify(new URL('./log.ts', import.meta.url).href)};
     const log = createLog({ level: 'info', json: true });
     ${body}`,
  ];

  it('gets every line, also those of the last moment', async () => {
    const child = spawn(
      process.execPath,
      program(`log.info({ n: 1 }, 'a'); log.info({ n: 2 }, 'b'); process.exit(3);`),
    );
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    const [code] = await once(child, 'close');
    expect(code).toBe(3);
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).n),
    ).toEqual([1, 2]);
  });

  it('may be closed by its reader without ending the program', async () => {
    const child = spawn(
      process.execPath,
      program(`let rounds = 0;
        const timer = setInterval(() => { log.info({}, 'x'.repeat(1000)); if (++rounds === 50) { clearInterval(timer); process.exitCode = 7; } }, 2);`),
    );
    await once(child.stdout, 'data');
    child.stdout.destroy();
    const [code] = await once(child, 'exit');
    expect(code).toBe(7);
  });
});
