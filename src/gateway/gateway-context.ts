import type { Deployment } from '../domain/deployment.ts';
import type { InstanceFlags } from '../domain/route-class.ts';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../util/clock.ts';
import type { AccessLog } from './access-log.ts';
import type { Authenticate } from './auth/authenticate.ts';
import type { Purse } from './limits/call-budgets.ts';
import type { Limiter } from './limits/limiter.ts';
import type { Knowledge } from './live/knowledge.ts';
import type { UsageSink } from './metering/usage-sink.ts';
import type { Upstream } from './providers/upstream.ts';
import type { RequestMetrics } from './request-metrics.ts';

/** Everything the request path uses, built once by the composition root and passed along. */
export interface GatewayContext {
  readonly knowledge: Knowledge;
  readonly authenticate: Authenticate;
  readonly usage: UsageSink;
  readonly purse: Purse;
  upstreamOf(deployment: Deployment): Upstream;
  readonly clock: Clock;
  /** A fresh UUIDv7. */
  readonly newId: () => string;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly accessLog: AccessLog;
  readonly metrics: RequestMetrics;
  readonly limiter: Limiter;
  readonly flags: InstanceFlags;
  readonly region: string;
  readonly serverRootPath: string;
  /** True while the process is draining: readiness is off and connections are closed after their answer. */
  isDraining(): boolean;
  /** False when balancers have had time to notice the drain: a call that comes nevertheless is refused. */
  takesCalls(): boolean;
  /** Whether `x-forwarded-for` of this peer address may be believed. */
  trustsProxy(address: string): boolean;
  readonly bodyBytesMax: number;
  /** A JSON answer up to this size is held until it is complete, so that cost and key spend can be headers. */
  readonly responseHeldBytesMax: number;
  /** On every answer: name, value, ... (versions, region). */
  readonly staticHeaders: readonly string[];
}
