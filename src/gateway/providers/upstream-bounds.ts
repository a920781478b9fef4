/** Connections per origin. At the bound a request waits inside the process for a free one, within its time-out. */
export const UPSTREAM_CONNECTIONS_MAX = 1024;
/** TCP and TLS together. */
export const CONNECT_TIMEOUT_MS = 10_000;
/** Providers and balancers close idle connections after 5 to 60 s; staying below avoids a reset on a reused one. */
export const IDLE_TIMEOUT_MS = 4_000;
