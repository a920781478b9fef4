/** Connections per origin. At the bound a request waits inside the process for a free one, within its time-out. */
export const UPSTREAM_CONNECTIONS_MAX = 1024;
/**
 * Connections being opened to one origin at once. Low enough that their handshakes do not starve the requests under way;
 * at 150 ms for TCP and TLS together it still opens 850 a second. At the bound a request waits for any that becomes free.
 */
export const UPSTREAM_OPENING_MAX = 128;
/** TCP and TLS together. */
export const CONNECT_TIMEOUT_MS = 10_000;
/** Providers and balancers close idle connections after 5 to 60 s; staying below avoids a reset on a reused one. */
export const IDLE_TIMEOUT_MS = 4_000;
