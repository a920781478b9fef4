import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { OperatorError } from '../util/operator-error.ts';
import { listenErrorSentence, probePort } from './probe-port.ts';

describe('the port', () => {
  it('that is free is free again afterwards', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    await expect(probePort('127.0.0.1', port)).rejects.toThrow(OperatorError);
    await expect(probePort('127.0.0.1', port)).rejects.toThrow(`Port ${port} is in use on 127.0.0.1`);
    await new Promise((resolve) => server.close(resolve));
    await probePort('127.0.0.1', port);
    await probePort('127.0.0.1', port);
  });

  it('of an address that is not of this machine is refused with a sentence', async () => {
    await expect(probePort('192.0.2.1', 0)).rejects.toThrow('192.0.2.1 is not an address of this machine');
    expect(listenErrorSentence({ code: 'EACCES' } as NodeJS.ErrnoException, '::', 80)).toContain('above 1023');
  });
});
