/**
 * What a worker and an admin say to each other about who the worker is. The order of things: docs/specs/joining.md.
 *
 *   POST /feed/v1/join    body `JoinRequest`, not signed: the token speaks for it; 200 `JoinAnswer`
 *   POST /feed/v1/renew   body `RenewRequest`, signed with the present key; 200 `RenewAnswer`
 */
import { readPublicKey } from '../util/ed25519.ts';
import { FeedFormatError } from './codec.ts';

export interface JoinRequest {
  readonly token: string;
  readonly instanceId: string;
  /** As configured; null: whatever the token says. */
  readonly region: string | null;
  readonly role: 'worker';
  readonly version: string;
  /** Ed25519, SPKI in base64. */
  readonly publicKey: string;
}

export interface JoinAnswer extends RenewAnswer {
  readonly instanceId: string;
  readonly region: string;
  readonly role: 'worker';
  readonly installation: string;
  /** The installation signs with its private half. */
  readonly installationKey: string;
  /** Key that secrets for this instance are sealed with. */
  readonly sealingKey: string;
}

export interface RenewRequest {
  /** Of the pair that the next requests are signed with. */
  readonly publicKey: string;
}

export interface RenewAnswer {
  /** From the answer on. */
  readonly validForMs: number;
}

/** The body of a refusal; gateway processes and the supervisor decide by `code`. */
export interface FeedRefusal {
  readonly error: string;
  readonly code: RefusalCode | null;
  /** With `clock`: wall clock of the control process, and a nonce that it accepts at any time. */
  readonly serverTimeMs: number | null;
  readonly challenge: string | null;
}

export type RefusalCode =
  | 'unsigned'
  | 'unknown_instance'
  | 'bad_signature'
  | 'unknown_session'
  | 'bad_mac'
  | 'clock'
  | 'replayed'
  | 'expired'
  | 'revoked'
  | 'not_yours'
  | 'token_unknown'
  | 'token_used'
  | 'token_expired'
  | 'other_region'
  | 'enrolled_already';

/** Longest body of a join or a renewal. */
export const JOIN_BODY_BYTES_MAX = 16 * 1024;

export const JOIN_TOKEN = /^cjt-[A-Za-z0-9_-]{43}$/;

export function parseJoinRequest(body: string): JoinRequest {
  const { token, instanceId, region, role, version, publicKey } = objectIn(body, 'a join request');
  return {
    // Any text: a token that is none is answered like one that is not known.
    token: text(token, 'token'),
    instanceId: matching(instanceId, UUID, 'instanceId'),
    region: region === null ? null : matching(region, REGION, 'region'),
    role: matching(role, /^worker$/, 'role') as 'worker',
    version: text(version, 'version'),
    publicKey: key(publicKey, 'publicKey'),
  };
}

export function parseRenewRequest(body: string): RenewRequest {
  return { publicKey: key(objectIn(body, 'a renewal').publicKey, 'publicKey') };
}

export function parseJoinAnswer(body: string): JoinAnswer {
  const value = objectIn(body, 'the answer to a join');
  return {
    ...parseRenewAnswer(body),
    instanceId: matching(value.instanceId, UUID, 'instanceId'),
    region: matching(value.region, REGION, 'region'),
    role: matching(value.role, /^worker$/, 'role') as 'worker',
    installation: matching(value.installation, UUID, 'installation'),
    installationKey: key(value.installationKey, 'installationKey'),
    sealingKey: text(value.sealingKey, 'sealingKey'),
  };
}

export function parseRenewAnswer(body: string): RenewAnswer {
  const { validForMs } = objectIn(body, 'the answer to a renewal');
  if (typeof validForMs !== 'number' || !(validForMs > 0)) throw wrong('validForMs');
  return { validForMs };
}

/** Anything at all: a balancer in between may have answered. */
export function parseRefusal(body: string): FeedRefusal {
  let value: Record<string, unknown> = {};
  try {
    value = objectIn(body, 'a refusal');
  } catch {
    // Not of our kind; the status has to do.
  }
  return {
    error: typeof value.error === 'string' ? value.error.slice(0, ERROR_CHARS_MAX) : '',
    code: typeof value.code === 'string' ? (value.code as RefusalCode) : null,
    serverTimeMs: typeof value.serverTimeMs === 'number' ? value.serverTimeMs : null,
    challenge: typeof value.challenge === 'string' ? value.challenge : null,
  };
}

const ERROR_CHARS_MAX = 500;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const REGION = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

function objectIn(body: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    // The parser's message would quote a token.
    throw new FeedFormatError(`${what} is not JSON (${body.length} characters)`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FeedFormatError(`${what} is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

function matching(value: unknown, form: RegExp, name: string): string {
  if (typeof value !== 'string' || !form.test(value)) throw wrong(name);
  return value;
}

function text(value: unknown, name: string): string {
  return matching(value, /^[^\0]{1,200}$/, name);
}

function key(value: unknown, name: string): string {
  const base64 = matching(value, /^[A-Za-z0-9+/]{40,100}={0,2}$/, name);
  try {
    readPublicKey(base64);
  } catch {
    throw wrong(name);
  }
  return base64;
}

function wrong(name: string): FeedFormatError {
  return new FeedFormatError(`a message about joining has a wrong or no ${name}`);
}
