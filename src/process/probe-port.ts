import { createServer } from 'node:net';
import { OperatorError } from '../util/operator-error.ts';

/**
 * Finds out before anything is started whether the public port can be had. It listens and closes again; whoever takes the
 * port in between makes the gateway process fail with the same sentence.
 */
export async function probePort(host: string, port: number): Promise<void> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, exclusive: true }, resolve);
    });
  } catch (error) {
    throw new OperatorError(listenErrorSentence(error as NodeJS.ErrnoException, host, port));
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

/** Why nothing could listen there, and what to do. */
export function listenErrorSentence(error: NodeJS.ErrnoException, host: string, port: number): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} is in use on ${host} by another program; choose another with --port (or PORT), or end that program.`;
    case 'EACCES':
      return `This account may not listen on port ${port} of ${host}; choose one above 1023 with --port (or PORT).`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAFNOSUPPORT':
      return `${host} is not an address of this machine; choose another with --host (or HOST), for example 127.0.0.1 or 0.0.0.0.`;
    default:
      return `Can not listen on port ${port} of ${host}: ${error.message}.`;
  }
}
