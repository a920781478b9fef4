import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { processCommand, processIdentity } from './process-identity.ts';

it('a process has the same identity for as long as it lives, and none afterwards', async () => {
  const child = spawn('sleep', ['60']);
  await once(child, 'spawn');
  const identity = processIdentity(child.pid!);
  expect(identity).not.toBeNull();
  expect(processIdentity(child.pid!)).toBe(identity);
  expect(processIdentity(process.pid)).not.toBe(identity);
  expect(processCommand(child.pid!)?.join(' ')).toContain('sleep 60');
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(processIdentity(child.pid!)).toBeNull();
});

it('a dead process that its parent never collects does not run', async () => {
  // The shell replaces itself by a program that does not wait for the child it inherits.
  const parent = spawn('/bin/sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [text] = await once(parent.stdout.setEncoding('utf8'), 'data');
  const pid = Number(text);
  const deadline = performance.now() + 10_000;
  while (processIdentity(pid) !== null && performance.now() < deadline) await new Promise(setImmediate);
  expect(processIdentity(pid)).toBeNull();
  expect(() => process.kill(pid, 0)).not.toThrow();
  parent.kill('SIGKILL');
});
