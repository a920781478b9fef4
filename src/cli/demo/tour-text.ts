import { DEMO_MODEL, type DemoFleet } from './demo-fleet.ts';

/** Where everything is, and the tour as commands to paste into another terminal. */
export function tourText({ admin, database, dir, masterKey, regions }: DemoFleet): string {
  const { eu, us } = regions;
  return `
An admin and two regions run on this machine, with a database that they share:

  admin          ${admin.url}   process group ${admin.pid}
  region eu      ${eu.url}   process group ${eu.pid}
  region us      ${us.url}   process group ${us.pid}
  PostgreSQL     process ${database.pid}
  master key     ${masterKey}
  everything     ${dir}   (admin.log, eu.log, us.log)

A tour, for another terminal. First two helpers:

  export MASTER='Authorization: Bearer ${masterKey}'
  chat() { curl -s -o /dev/null -w "$1 answers %{http_code}\\n" "$1/v1/chat/completions" -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' -d '{"model":"${DEMO_MODEL}","messages":[{"role":"user","content":"Hi"}]}'; }

  1. Make a key on the admin.
     export KEY=$(curl -s ${admin.url}/key/generate -H "$MASTER" -H 'Content-Type: application/json' -d '{}' | grep -o 'sk-c1[A-Za-z0-9_-]*' | head -1); echo $KEY

  2. Use it in both regions.
     chat ${eu.url}; chat ${us.url}

  3. Block it, with a receipt that says where it is in force; then try both regions, and unblock it.
     curl -s '${admin.url}/key/block?wait=all&timeout=2s' -H "$MASTER" -H 'Content-Type: application/json' -d "{\\"key\\":\\"$KEY\\"}"; echo
     chat ${eu.url}; chat ${us.url}
     curl -s '${admin.url}/key/unblock?wait=all&timeout=2s' -H "$MASTER" -H 'Content-Type: application/json' -d "{\\"key\\":\\"$KEY\\"}"; echo

  4. Kill the admin and the database while calls are made. They come back after ${RESTART_BEHIND_MS / 1_000} s.
     kill -KILL -- -${admin.pid}; kill -QUIT ${database.pid}; for i in 1 2 3 4 5 6 7 8 9 10; do chat ${eu.url}; chat ${us.url}; sleep 1; done

  5. Kill a worker and see it return after ${RESTART_WORKER_MS / 1_000} s, while the other region serves.
     kill -KILL -- -${us.pid}; for i in 1 2 3 4 5 6 7 8 9 10; do chat ${us.url}; chat ${eu.url}; sleep 1; done

Ctrl-C ends all of it.
`;
}

/** Long enough to see that nobody misses them. */
export const RESTART_BEHIND_MS = 15_000;
export const RESTART_WORKER_MS = 3_000;
