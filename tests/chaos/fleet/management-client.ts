import { request } from 'node:http';

export interface ManagementAnswer {
  readonly status: number;
  readonly text: string;
  readonly rev: number | null;
  json(): ReturnType<typeof JSON.parse>;
}

/** A call that is not answered within this time may have been carried out or not. */
const TIMEOUT_MS = 5_000;

/** Management calls to an admin that may be away, hang, or end in the middle of a call. */
export class ManagementClient {
  readonly #port: number;
  readonly #masterKey: string;

  constructor(port: number, masterKey: string) {
    this.#port = port;
    this.#masterKey = masterKey;
  }

  /** Null: no answer, or not within the time. */
  send(method: string, path: string, body?: object): Promise<ManagementAnswer | null> {
    const bytes = body === undefined ? '' : JSON.stringify(body);
    return new Promise((resolve) => {
      const call = request(
        {
          host: '127.0.0.1',
          port: this.#port,
          method,
          path,
          agent: false,
          headers: {
            authorization: `Bearer ${this.#masterKey}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(bytes),
          },
        },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (piece: string) => {
            text += piece;
          });
          answer.once('error', () => resolve(null));
          answer.once('end', () => {
            const rev = answer.headers['x-claviger-rev'];
            resolve({
              status: answer.statusCode ?? 0,
              text,
              rev: typeof rev === 'string' ? Number(rev) : null,
              json: () => JSON.parse(text),
            });
          });
        },
      );
      const timer = setTimeout(() => call.destroy(new Error('late')), TIMEOUT_MS);
      call.once('close', () => clearTimeout(timer));
      call.once('error', () => resolve(null));
      call.end(bytes);
    });
  }
}
