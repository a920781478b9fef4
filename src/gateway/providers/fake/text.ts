import { createHash } from 'node:crypto';

/** Longest part of a prompt that is echoed; more would make answers grow with prompts. */
const ECHO_CHARACTERS_MAX = 200;
/** Words of one input that shape its vector; later ones are ignored. */
const EMBEDDED_WORDS_MAX = 2_000;

/** Tokens of a text, about as a real tokenizer counts English: four UTF-8 bytes each. */
export function countTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / 4);
}

/** A short answer that shows the prompt again, so that a pasted `curl` looks alive. */
export function answerText(prompt: string): string {
  const seen = prompt.replace(/\s+/g, ' ').trim();
  const shown = [...seen].slice(0, ECHO_CHARACTERS_MAX).join('');
  const cut = shown.length < seen.length ? '…' : '';
  if (shown === '') return 'This is the built-in fake model. You sent no text.';
  return `You said: “${shown}${cut}” This answer comes from the built-in fake model; no provider was called.`;
}

/** Cuts a text into word tokens that join to the text again. */
export function wordTokens(text: string): string[] {
  return text.match(/\s*\S+/g) ?? [];
}

/** Token number `index` of an answer whose text has `words`: the text again and again, as long as it must be. */
export function tokenAt(words: readonly string[], index: number): string {
  const word = words[index % words.length] ?? '';
  return index > 0 && index % words.length === 0 ? ` ${word}` : word;
}

/** First 24 hex digits of SHA-256. */
export function shortHash(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 24);
}

/**
 * A unit vector that depends only on the words of the text, each adding its own pseudo-random direction: equal texts get
 * equal vectors and texts that share words are near each other, so that a similarity search over them makes sense.
 */
export function embed(text: string, dimensions: number): Float32Array {
  const vector = new Float32Array(dimensions);
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [text];
  const used = Math.min(words.length, EMBEDDED_WORDS_MAX);
  for (let w = 0; w < used; w++) {
    let state = seed(words[w] ?? '');
    for (let d = 0; d < dimensions; d++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      vector[d] = (vector[d] ?? 0) + state / 0x8000_0000;
    }
  }
  let square = 0;
  for (const value of vector) square += value * value;
  const length = Math.sqrt(square) || 1;
  for (let d = 0; d < dimensions; d++) vector[d] = (vector[d] ?? 0) / length;
  return vector;
}

/** Little-endian float32 in base64, the form that OpenAI's libraries ask for by default. */
export function base64Vector(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (let d = 0; d < vector.length; d++) bytes.writeFloatLE(vector[d] ?? 0, d * 4);
  return bytes.toString('base64');
}

/** FNV-1a, never 0, because xorshift stays at 0. */
function seed(word: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < word.length; i++) hash = Math.imul(hash ^ word.charCodeAt(i), 0x01000193);
  return hash | 1;
}
