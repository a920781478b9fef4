/** Resolves when the condition holds. For what takes milliseconds; looks every millisecond, and gives up late. */
export async function eventually(condition: () => boolean, timeoutMs = 30_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
