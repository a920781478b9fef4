import { z } from 'zod';
import type { RouteDefinition } from './define-route.ts';

type JsonSchema = Record<string, unknown>;

/** The OpenAPI 3.1 document of the given routes. */
export function openApiDocument(
  routes: readonly RouteDefinition[],
  { version, rootPath }: { version: string; rootPath: string },
): JsonSchema {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:path\}/g, '}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Claviger',
      version,
      description: 'Management API. The LLM routes take and give what the OpenAI API does.',
    },
    ...(rootPath === '' ? {} : { servers: [{ url: rootPath }] }),
    paths,
    components: {
      securitySchemes: { APIKeyHeader: { type: 'apiKey', in: 'header', name: 'x-litellm-api-key' } },
      schemas: { Error: ERROR_SCHEMA, HTTPValidationError: VALIDATION_SCHEMA },
    },
  };
}

function operation(route: RouteDefinition): JsonSchema {
  const errors = { 401: 'No valid key, or not an admin.', ...route.errors, 503: 'The database can not be reached.' };
  return {
    operationId: route.operationId,
    tags: [route.tag],
    summary: route.summary,
    description: route.description,
    security: [{ APIKeyHeader: [] }],
    parameters: [...parameters(route), ...(route.method === 'GET' ? [] : WAIT_PARAMETERS)],
    ...(route.body === null
      ? {}
      : {
          requestBody: { required: true, content: { 'application/json': { schema: schemaOf(route.body, 'input') } } },
        }),
    responses: {
      200: { description: 'Success', content: { 'application/json': { schema: schemaOf(route.response, 'output') } } },
      422: { description: 'A field has the wrong type.', content: reference('HTTPValidationError') },
      ...Object.fromEntries(
        Object.entries(errors).map(([status, description]) => [status, { description, content: reference('Error') }]),
      ),
    },
  };
}

function parameters({ path, query }: RouteDefinition): JsonSchema[] {
  return Object.entries(query.shape).map(([name, type]) => {
    const inPath = path.includes(`{${name}}`) || path.includes(`{${name}:path}`);
    return {
      name,
      in: inPath ? 'path' : 'query',
      required: inPath,
      schema: schemaOf(type as z.ZodType, 'input'),
    };
  });
}

/** Every write takes them. */
const WAIT_PARAMETERS: readonly JsonSchema[] = [
  {
    name: 'wait',
    in: 'query',
    required: false,
    description:
      'Answer when the gateway processes of the whole fleet or of this region have the change in force, with a `receipt`.',
    schema: { type: 'string', enum: ['all', 'region', 'none'], default: 'none' },
  },
  {
    name: 'timeout',
    in: 'query',
    required: false,
    description: 'How long `wait` waits: `2s`, `500ms`; at most 10 s.',
    schema: { type: 'string', default: '2s' },
  },
];

function schemaOf(type: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io, unrepresentable: 'any' });
  return schema;
}

function reference(name: string): JsonSchema {
  return { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } };
}

const ERROR_SCHEMA: JsonSchema = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type', 'param', 'code'],
      properties: {
        message: { type: 'string' },
        type: { type: 'string' },
        param: { type: ['string', 'null'] },
        code: { type: 'string', description: 'The HTTP status as text.' },
      },
    },
  },
};

const VALIDATION_SCHEMA: JsonSchema = {
  type: 'object',
  properties: {
    detail: {
      type: 'array',
      items: {
        type: 'object',
        required: ['loc', 'msg', 'type'],
        properties: {
          loc: { type: 'array', items: { type: ['string', 'integer'] } },
          msg: { type: 'string' },
          type: { type: 'string' },
        },
      },
    },
  },
};
