import { UpstreamError, type UpstreamErrorKind } from './upstream.ts';

/** A failure of socket, TLS or HTTP client as one of the kinds that the gateway tells apart. */
export function upstreamErrorFrom(error: Error & { code?: string }): UpstreamError {
  const code = error.code ?? '';
  return new UpstreamError(kindOf(code), code === '' ? error.message : `${error.message} (${code})`, { cause: error });
}

function kindOf(code: string): UpstreamErrorKind {
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT' || code === 'UND_ERR_CONNECT_TIMEOUT')
    return 'timeout';
  if (code === 'ETIMEDOUT') return 'timeout';
  if (code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE') return 'reset';
  if (code.startsWith('HPE_') || code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') return 'protocol';
  if (code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'UND_ERR_INVALID_ARG') return 'protocol';
  if (code.startsWith('ERR_TLS') || code.startsWith('ERR_SSL') || code.includes('CERT') || code.includes('SIGNATURE'))
    return 'tls';
  if (code === 'UND_ERR_ABORTED') return 'aborted';
  return 'connect';
}
