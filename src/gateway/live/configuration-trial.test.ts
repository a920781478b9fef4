import { describe, expect, it } from 'vitest';
import { decideAtBoot, type Trial, trialOf } from './configuration-trial.ts';

const GOOD = 'good';
const trial = (modelsHash: string, crashes: number, rejected = false): Trial => ({ modelsHash, crashes, rejected });

describe('at a start', () => {
  it.each<[string, Trial | null, string, ReturnType<typeof decideAtBoot>]>([
    ['what is good needs no trial', null, GOOD, { use: 'current', trial: null }],
    ['what is good again ends a trial', trial('new', 1), GOOD, { use: 'current', trial: null }],
    ['something new is on trial', null, 'new', { use: 'current', trial: trial('new', 0) }],
    ['one crash is no proof', trial('new', 0), 'new', { use: 'current', trial: trial('new', 1) }],
    ['two are', trial('new', 1), 'new', { use: 'last good', trial: trial('new', 2, true) }],
    ['what was rejected stays so', trial('new', 2, true), 'new', { use: 'last good', trial: trial('new', 2, true) }],
    [
      'something newer than what was rejected is new',
      trial('new', 2, true),
      'newer',
      { use: 'current', trial: trial('newer', 0) },
    ],
    [
      'crashes count also when each start finds something newer',
      trial('new', 1),
      'newer',
      { use: 'last good', trial: trial('newer', 2, true) },
    ],
  ])('%s', (_what, found, modelsHash, expected) => {
    expect(decideAtBoot(found, modelsHash, GOOD)).toEqual(expected);
  });
});

it('more crashes are needed where there is nothing good to start with', () => {
  expect(decideAtBoot(trial('new', 1), 'new', GOOD, 5)).toEqual({ use: 'current', trial: trial('new', 2) });
  expect(decideAtBoot(trial('new', 4), 'new', GOOD, 5)).toEqual({ use: 'last good', trial: trial('new', 5, true) });
});

describe('while a process runs', () => {
  it.each<[string, Trial | null, string, Trial | null]>([
    ['something new is on trial', null, 'new', trial('new', 0)],
    ['something newer inherits the crashes', trial('new', 1), 'newer', trial('newer', 1)],
    ['something newer than what was rejected begins anew', trial('new', 2, true), 'newer', trial('newer', 0)],
    ['what is good ends the trial', trial('new', 1), GOOD, null],
  ])('%s', (_what, running, modelsHash, expected) => {
    expect(trialOf(running, modelsHash, GOOD)).toEqual(expected);
  });
});
