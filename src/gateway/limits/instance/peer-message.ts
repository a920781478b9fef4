import type { Ring } from '../owned-meters.ts';

/** What one gateway process says to another on the connection that it made; one JSON array per line. */
export type PeerMessage =
  /** The first: which slot this is. */
  | readonly ['hello', slot: number]
  | readonly ['ask', id: number, key: string, limit: number, need: number, want: number]
  | readonly ['back', key: string, second: number, amount: number]
  | readonly ['charge', key: string, amount: number]
  /** All slots of that meter that the sender has. */
  | readonly ['claim', key: string, slots: number]
  /** Windows that the receiver owns from now on, or would take over. */
  | readonly ['rings', rings: readonly (readonly [key: string, ring: Ring])[]]
  /** The sender knows of the receiver, and has handed over all that is the receiver's. */
  | readonly ['moved'];

/** The only answer. */
export type PeerAnswer = readonly [
  'loan',
  id: number,
  granted: number,
  second: number,
  remaining: number,
  resetSeconds: number,
];

const KINDS: ReadonlySet<unknown> = new Set(['hello', 'ask', 'back', 'charge', 'claim', 'rings', 'moved', 'loan']);

/** Null for what is none; the sender is a process of ours, so nothing more is checked than its kind. */
export function parseLine(line: string): PeerMessage | PeerAnswer | null {
  try {
    const value: unknown = JSON.parse(line);
    return Array.isArray(value) && KINDS.has(value[0]) ? (value as unknown as PeerMessage | PeerAnswer) : null;
  } catch {
    return null;
  }
}
