import type { z } from 'zod';

/** A management route as data: the control plane serves it, the OpenAPI document and the CLI describe it from here. */
export interface RouteDefinition<
  Query extends z.ZodObject = z.ZodObject,
  Body extends z.ZodObject | null = z.ZodObject | null,
> {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Below the server root path. */
  readonly path: string;
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description: string;
  /**
   * Who may call it; what an `any key` route shows is limited by its handler. `model writer` is an admin too, and others are told so with
   * 403, as in LiteLLM.
   */
  readonly access: 'proxy admin' | 'model writer' | 'any key';
  /** Parameters of the query, and those that the path names. */
  readonly query: Query;
  /** Null: the route takes no body, and ignores one. */
  readonly body: Body;
  readonly response: z.ZodType;
  /** Statuses besides 200, 401, 422 and 503, which every route has. */
  readonly errors: Readonly<Record<number, string>>;
}

export function defineRoute<Query extends z.ZodObject, Body extends z.ZodObject | null>(
  definition: RouteDefinition<Query, Body>,
): RouteDefinition<Query, Body> {
  return definition;
}

/** What a handler gets of a route: query and body after validation. */
export type QueryOf<Route> = Route extends RouteDefinition<infer Query, infer _> ? z.output<Query> : never;
export type BodyOf<Route> =
  Route extends RouteDefinition<infer _, infer Body> ? (Body extends z.ZodObject ? z.output<Body> : null) : never;
