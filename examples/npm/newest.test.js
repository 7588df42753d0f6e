import assert from 'node:assert/strict';
import { test } from 'node:test';
import kleur from 'kleur';
import { newest } from './newest.js';

test('finds the newest version', () => {
  kleur.enabled = false;
  assert.equal(newest(['1.2.0', '1.10.0', '1.9.9']), '1.10.0');
});
