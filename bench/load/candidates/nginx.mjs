import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processTree } from '../process-stats.mjs';
import { findOnPath, freePort, listening, startProcess } from '../start-candidate.mjs';

export const name = 'nginx';
export const title = 'nginx, one worker, upstream keep-alive';

export const missing = () => (findOnPath('nginx') === null ? 'nginx is not installed' : null);

export async function start({ upstream, core, dir, root }) {
  const port = await freePort();
  const temp = join(dir, 'nginx');
  mkdirSync(temp, { recursive: true });
  writeFileSync(join(dir, 'nginx.conf'), configuration({ port, temp, upstream }));
  const started = startProcess({
    command: findOnPath('nginx'),
    args: ['-c', join(dir, 'nginx.conf'), '-p', temp, '-e', join(temp, 'error.log')],
    env: {},
    cwd: root,
    core,
    log: join(dir, 'nginx.log'),
  });
  await listening(port, started, title);
  return {
    pid: started.pid,
    port,
    // The master process only watches; the worker relays.
    gatewayPids: () => processTree(started.pid).slice(1),
    request: (test) => ({
      path: test.tls ? '/tls/v1/chat/completions' : '/v1/chat/completions',
      headers: { Authorization: 'Bearer sk-bench' },
    }),
    stop: started.stop,
    logText: started.logText,
  };
}

function configuration({ port, temp, upstream }) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${temp}/${kind};`,
  );
  return `daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 1;
pid ${temp}/nginx.pid;
error_log ${temp}/error.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  ${temporary.join('\n  ')}
  keepalive_requests 100000000;
  client_body_buffer_size 1m;
  client_max_body_size 16m;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  upstream clear { server 127.0.0.1:${upstream.http}; keepalive 256; keepalive_requests 100000000; }
  upstream secure { server 127.0.0.1:${upstream.https}; keepalive 256; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port};
    location /v1/ { proxy_pass http://clear; }
    location /tls/v1/ {
      proxy_pass https://secure/v1/;
      proxy_ssl_verify on;
      proxy_ssl_name localhost;
      proxy_ssl_trusted_certificate ${upstream.caPath};
    }
  }
}
`;
}
