import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import * as fleet from '../schemas/fleet.ts';

const none = z.object({});
const tag = 'fleet';
const noSuchWorker = { 404: 'There is no such worker.' };

export const fleetWorkersRoute = defineRoute({
  method: 'GET',
  path: '/fleet/workers',
  operationId: 'list_fleet_workers',
  tag,
  summary: 'Show all instances with their gateway processes',
  description:
    'States follow from how long ago a gateway process was heard of, never from what it said last. Times are of the clock of the database.',
  access: 'proxy admin',
  query: fleet.fleetWorkersQuery,
  body: null,
  response: fleet.fleetWorkers,
  errors: {},
});

export const fleetRegionsRoute = defineRoute({
  method: 'GET',
  path: '/fleet/regions',
  operationId: 'list_fleet_regions',
  tag,
  summary: 'Show the regions',
  description: 'Sums over the workers of each. Gateway processes of admins serve no region.',
  access: 'proxy admin',
  query: none,
  body: null,
  response: fleet.fleetRegions,
  errors: {},
});

export const fleetChangesRoute = defineRoute({
  method: 'GET',
  path: '/fleet/changes',
  operationId: 'list_fleet_changes',
  tag,
  summary: 'List changes',
  description: 'Newest first. `next_before` of the answer is `before` of the next page.',
  access: 'proxy admin',
  query: fleet.fleetChangesQuery,
  body: null,
  response: fleet.fleetChanges,
  errors: { 400: '`before` is none of ours.' },
});

export const fleetChangeRoute = defineRoute({
  method: 'GET',
  path: '/fleet/changes/{rev}',
  operationId: 'get_fleet_change',
  tag,
  summary: 'Show a change',
  description:
    'What was different after it, field by field, and which gateway processes had it when. After a restore of the database a revision may ' +
    'exist in several epochs: the newest is shown, or the one of `epoch`.',
  access: 'proxy admin',
  query: fleet.fleetChangeQuery,
  body: null,
  response: fleet.fleetChange,
  errors: { 404: 'There is no such revision in the log.' },
});

export const fleetEventsRoute = defineRoute({
  method: 'GET',
  path: '/fleet/events',
  operationId: 'watch_fleet',
  tag,
  summary: 'Follow what happens',
  description:
    'Server-sent events: `fleet` first, with the states of the moment; then `change` when something was changed, `gateway` when a gateway process arrived or its state changed. A listener that ' +
    'does not keep up is cut off and can come back. With the header `Last-Event-ID` it hears what it missed, or `reset` when that is not kept ' +
    'any more on the instance that is asked: then it has to read the lists again.',
  access: 'proxy admin',
  query: none,
  body: null,
  response: z.string().describe('text/event-stream'),
  errors: { 409: 'Too many listeners on this instance.' },
});

export const rollBackRoute = defineRoute({
  method: 'POST',
  path: '/fleet/changes/{rev}/rollback',
  operationId: 'roll_back_change',
  tag,
  summary: 'Undo a change',
  description:
    'Makes a new change that gives the fields of that one their old values. Refused where a later change touched the same fields. What would ' +
    'let a key do more than it may now (unblock, undelete, later expiry, more models, routes or regions, higher or no limits and budgets, a ' +
    'weaker fence) needs `confirm`.',
  access: 'proxy admin',
  query: fleet.rollBackQuery,
  body: fleet.rollBackBody,
  response: fleet.rolledBack,
  errors: {
    400: 'Changes of this kind can not be undone.',
    404: 'There is no such revision in the log.',
    409: 'A later change touched the same fields, or `confirm` is needed.',
  },
});

export const drainWorkerRoute = defineRoute({
  method: 'POST',
  path: '/fleet/workers/{id}/drain',
  operationId: 'drain_fleet_worker',
  tag,
  summary: 'Have an instance finish and end',
  description: 'As SIGTERM does: readiness off, open requests are finished up to the drain time, then all of it ends.',
  access: 'proxy admin',
  query: fleet.fleetWorkerQuery,
  body: null,
  response: fleet.commandGiven,
  errors: { ...noSuchWorker, 409: 'None of its gateway processes is there.' },
});

export const resyncWorkerRoute = defineRoute({
  method: 'POST',
  path: '/fleet/workers/{id}/resync',
  operationId: 'resync_fleet_worker',
  tag,
  summary: 'Have an instance take everything anew',
  description: 'Its gateway processes ask for a whole snapshot, and serve from what they have until it is complete.',
  access: 'proxy admin',
  query: fleet.fleetWorkerQuery,
  body: null,
  response: fleet.commandGiven,
  errors: { ...noSuchWorker, 409: 'None of its gateway processes is there.' },
});

export const removeWorkerRoute = defineRoute({
  method: 'POST',
  path: '/fleet/workers/{id}/remove',
  operationId: 'remove_fleet_worker',
  tag,
  summary: 'Forget an instance',
  description: 'One that is lost or has left. It is in the list again as soon as it is heard of.',
  access: 'proxy admin',
  query: fleet.fleetWorkerQuery,
  body: null,
  response: fleet.workerForgotten,
  errors: { ...noSuchWorker, 409: 'It is there, or was a moment ago.' },
});
