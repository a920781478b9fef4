import type { JsonObject } from '../../../domain/virtual-key.ts';
import { scanJsonObject } from '../../http/scan-json-object.ts';

/** What is read of a JSON answer; its bytes go to the client as they came. */
export interface Answer {
  readonly id: string | null;
  readonly model: string | null;
  readonly usage: JsonObject | null;
  /** As the provider writes it. */
  readonly serviceTier: string | null;
  /** The answer is an `error` object although its status is 200. */
  readonly hasError: boolean;
  /** Bytes of `choices` or `data`, to estimate from when there is no usage. */
  readonly contentBytes: number;
}

/** Null: not a JSON object. */
export function parseAnswer(body: Buffer): Answer | null {
  const members = scanJsonObject(body);
  if (members === null) return null;
  let id: string | null = null;
  let model: string | null = null;
  let usage: JsonObject | null = null;
  let serviceTier: string | null = null;
  let hasError = false;
  let hasContent = false;
  let contentBytes = 0;
  const { names, spans } = members;
  for (let index = 0; index < names.length; index++) {
    const start = spans[index * 3 + 1]!;
    const end = spans[index * 3 + 2]!;
    switch (names[index]) {
      case 'id':
        if (body[start] === 0x22) id = JSON.parse(body.toString('utf8', start, end)) as string;
        break;
      case 'model':
        if (body[start] === 0x22) model = JSON.parse(body.toString('utf8', start, end)) as string;
        break;
      case 'usage':
        if (body[start] === 0x7b) usage = JSON.parse(body.toString('utf8', start, end)) as JsonObject;
        break;
      case 'service_tier':
        if (body[start] === 0x22) serviceTier = JSON.parse(body.toString('utf8', start, end)) as string;
        break;
      case 'error':
        hasError = body[start] !== 0x6e;
        break;
      case 'choices':
      case 'data':
        hasContent = true;
        contentBytes = end - start;
        break;
    }
  }
  return { id, model, usage, serviceTier, hasError: hasError && !hasContent, contentBytes };
}
