/**
 * Something that the person who runs Claviger can put right. The message is a sentence for them (what happened, to which
 * thing, what to do) and is shown without a stack.
 */
export class OperatorError extends Error {
  override readonly name = 'OperatorError';
}
