/** A name from a client or a configuration as a header value: as it is when it is printable ASCII, else percent-encoded. */
export function headerText(text: string): string {
  // Through bytes, because half a surrogate pair is a legal JSON string and no legal URI.
  return PRINTABLE.test(text) ? text : encodeURIComponent(Buffer.from(text).toString());
}

const PRINTABLE = /^[\x20-\x7e]*$/;
