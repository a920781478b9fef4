/** No relay at all: the load generator talks to the upstream. What the others add is measured from here. */
export const name = 'direct';
export const title = 'upstream alone';

export const missing = () => null;

export async function start({ upstream }) {
  return {
    pid: upstream.pid,
    port: upstream.http,
    gatewayPids: () => [upstream.pid],
    request: () => ({ path: '/v1/chat/completions', headers: { Authorization: 'Bearer sk-upstream' } }),
    // The upstream's certificate costs the candidates, not the load generator: a direct call is always in clear.
    stop: async () => undefined,
    logText: () => '',
  };
}
