/** A refusal on the feed, with a status and a sentence; gateway processes log it. */
export class Refusal extends Error {
  override name = 'Refusal';
  readonly status: number;
  /** What a joined worker decides by; null: nothing but the status. */
  readonly code: string | null;
  /** Further fields of the answer. */
  readonly extra: Readonly<Record<string, string | number>>;

  constructor(
    status: number,
    message: string,
    code: string | null = null,
    extra: Readonly<Record<string, string | number>> = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.extra = extra;
  }
}
