import { expect, it } from 'vitest';
import { editDistance, nearestName } from './nearest-name.ts';

it.each([
  ['', '', 0],
  ['', 'abc', 3],
  ['master_key', 'mastr_key', 1],
  ['master_key', 'amster_key', 1],
  ['kitten', 'sitting', 3],
])('counts edits between %j and %j', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

it.each([
  ['mater_key', 'master_key'],
  ['MASTER_KEY', 'master_key'],
  ['databse_url', 'database_url'],
  ['zzz', null],
  ['', null],
])('finds what %j most likely means', (name, expected) => {
  expect(nearestName(name, ['master_key', 'database_url', 'database_connection_timeout'])).toBe(expected);
});
