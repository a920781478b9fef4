// A slot of a gateway process that hears a denial ahead of its delta, says so, and never gets the delta: `<slot directory> <token>`.
import { LocalSnapshots } from '../../src/gateway/live/local-snapshots.ts';
import { MapPrincipalStore } from '../../src/gateway/live/principal-store.ts';
import { silentLog } from './silent-log.ts';

const [directory, token] = process.argv.slice(2);
const store = new MapPrincipalStore();
const snapshots = new LocalSnapshots({ directory, store, log: silentLog });
snapshots.restore(null);
snapshots.deny({ epoch: store.position.epoch, rev: store.position.rev + 2, tokens: [token] });
process.send('denied');
setInterval(() => {}, 60_000);
