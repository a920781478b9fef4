import type { IncomingMessage } from 'node:http';
import { ClavigerError } from '../../domain/error-catalogue.ts';

/** `onBody` or `onBodyError` is called back once; an object because there is one per request. */
export interface BodyReader {
  onBody(body: Buffer): void;
  onBodyError(error: ClavigerError): void;
}

/** The client sends its body only after `100 Continue`, or after some seconds of its own choice. */
export function waitsForContinue({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersion === '1.1' && headers.expect.toLowerCase() === '100-continue';
}

const EMPTY = Buffer.alloc(0);

/**
 * Reads a request body into one buffer of at most `bytesMax` bytes. A declared length over the limit is refused before a byte is
 * read; a chunked body at the byte that passes it. A client that leaves calls nothing: the caller watches `close`.
 */
export function readBody(
  request: IncomingMessage,
  bytesMax: number,
  reader: BodyReader,
  /** The body will be read, as far as its head tells. */
  onWanted: () => void,
): void {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    reader.onBodyError(new ClavigerError('unsupported_content_encoding', { encoding: encoding.slice(0, 40) }));
    return;
  }
  const declared = request.headers['content-length'];
  if (declared !== undefined && Number(declared) > bytesMax) {
    reader.onBodyError(new ClavigerError('body_too_large', { limitBytes: bytesMax }));
    return;
  }
  onWanted();
  let only: Buffer | null = null;
  let chunks: Buffer[] | null = null;
  let length = 0;
  let over = false;
  request.on('data', (chunk: Buffer) => {
    if (over) return;
    length += chunk.length;
    if (length > bytesMax) {
      over = true;
      chunks = null;
      only = null;
      reader.onBodyError(new ClavigerError('body_too_large', { limitBytes: bytesMax }));
    } else if (only === null) only = chunk;
    else if (chunks === null) chunks = [only, chunk];
    else chunks.push(chunk);
  });
  request.on('end', () => {
    if (!over) reader.onBody(chunks === null ? (only ?? EMPTY) : Buffer.concat(chunks, length));
  });
}
