import type { BodyOf, QueryOf, RouteDefinition } from '../../contract/define-route.ts';
import type { Revision } from '../../domain/change.ts';
import type { Caller } from '../auth/caller.ts';
import type { Origin } from '../config/append-change.ts';
import type { ControlContext } from '../context.ts';

export interface HandlerInput<Query, Body> {
  readonly query: Query;
  readonly body: Body;
  readonly caller: Caller;
  /** For the audit entry of a write. */
  readonly origin: Origin;
  /** Of server-sent events, what the client heard last before it was cut off. */
  readonly lastEventId: string | null;
}

export interface HandlerResult {
  readonly json: unknown;
  /** Of the write that was made. */
  readonly rev?: Revision | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** Server-sent events, instead of `json`. */
  readonly events?: ReadableStream<Uint8Array>;
}

/** A route and what answers it. The input has passed the route's schemas. */
export interface Endpoint {
  readonly route: RouteDefinition;
  readonly handle: (input: HandlerInput<never, never>, context: ControlContext) => Promise<HandlerResult>;
}

export function endpoint<Route extends RouteDefinition>(
  route: Route,
  handle: (input: HandlerInput<QueryOf<Route>, BodyOf<Route>>, context: ControlContext) => Promise<HandlerResult>,
): Endpoint {
  return { route, handle };
}
