import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { LlmEndpoint } from '../../domain/route-class.ts';
import { type LlmBody, memberKind, type ValueKind } from './llm-body.ts';

/**
 * Checks what the gateway itself relies on; everything else is the provider's to judge. Returns the name of the model that the
 * client asks for: the path's when it names one, else the body's.
 */
export function guardBody(body: LlmBody, endpoint: LlmEndpoint): string {
  const inBody = body.read['model'];
  const model = endpoint.pathModel ?? inBody;
  if (model === undefined || model === null) throw missing('model');
  if (typeof model !== 'string') throw wrongType('model', 'a string', memberKind(body, 'model'));
  if (model === '')
    throw new ClavigerError('invalid_field', { field: 'model', reason: 'it is empty.' }, { param: 'model' });
  const stream = memberKind(body, 'stream');
  if (stream !== 'absent' && stream !== 'boolean' && stream !== 'null') throw wrongType('stream', 'a boolean', stream);
  const options = memberKind(body, 'stream_options');
  if (options !== 'absent' && options !== 'object' && options !== 'null')
    throw wrongType('stream_options', 'an object', options);
  switch (endpoint.kind) {
    case 'chat': {
      const kind = memberKind(body, 'messages');
      if (kind === 'absent' || kind === 'null') throw missing('messages');
      if (kind !== 'array') throw wrongType('messages', 'an array of objects', kind);
      break;
    }
    case 'completions':
      guardText(body, 'prompt');
      break;
    case 'embeddings':
      guardText(body, 'input');
      break;
  }
  return model;
}

function guardText(body: LlmBody, field: string): void {
  const kind = memberKind(body, field);
  if (kind === 'absent' || kind === 'null') throw missing(field);
  if (kind !== 'string' && kind !== 'array') throw wrongType(field, 'a string or an array', kind);
}

function missing(field: string): ClavigerError {
  return new ClavigerError('missing_field', { field }, { param: field });
}

function wrongType(field: string, expected: string, found: ValueKind): ClavigerError {
  const shown = found === 'array' || found === 'object' ? `an ${found}` : found === 'null' ? 'null' : `a ${found}`;
  return new ClavigerError('wrong_field_type', { field, expected, found: shown }, { param: field });
}
