import { decideGrant } from '../../src/control/money/decide-grant.ts';
import type { LeaseAsk, LeaseGrant, LeaseReply } from '../../src/feed/protocol.ts';
import type { FeedAnswer } from '../../src/gateway/live/feed-transport.ts';

/** A control plane that knows nothing but ledgers, in memory: for tests of one gateway process. */
export class GrantingTransport {
  /** By ledger, nano-dollars. A ledger that is not here has as much as anybody wants. */
  readonly maxNano = new Map<string, bigint>();
  readonly settledNano = new Map<string, bigint>();
  readonly escrowNano = new Map<string, bigint>();
  readonly asks: LeaseAsk[] = [];
  /** Nobody answers. */
  away = false;

  async post(path: string, body: string | Buffer): Promise<FeedAnswer> {
    if (this.away) throw new Error('the control plane is away');
    if (path !== '/feed/v1/leases') throw new Error(`no ${path} here`);
    const ask = JSON.parse(String(body)) as LeaseAsk;
    this.asks.push(ask);
    return { status: 200, body: JSON.stringify(this.#answer(ask)) };
  }

  #answer(ask: LeaseAsk): LeaseReply {
    const grants = ask.wishes.map(({ ledger, needNano, wantNano, ratePerMinuteNano, offlineNano }): LeaseGrant => {
      const maxNano = this.maxNano.get(ledger) ?? 10n ** 15n;
      const settledNano = this.settledNano.get(ledger) ?? 0n;
      const escrowNano = this.escrowNano.get(ledger) ?? 0n;
      const grant = decideGrant(
        {
          needNano: BigInt(needNano),
          wantNano: BigInt(wantNano),
          ratePerMinuteNano: BigInt(ratePerMinuteNano),
          offlineNano: BigInt(offlineNano),
        },
        { maxNano, settledNano, escrowNano },
      );
      const nano = 'nano' in grant ? grant.nano : 0n;
      this.escrowNano.set(ledger, escrowNano + nano);
      return {
        ledger,
        periodStartMs: 0,
        endsInMs: null,
        startsInMs: 0,
        grantedNano: String(nano),
        refusal: 'nano' in grant ? null : grant.refusal,
        maxNano: String(maxNano),
        settledNano: String(settledNano),
      };
    });
    return { ok: true, ask: ask.ask, grants, recalled: [], closed: [] };
  }
}
