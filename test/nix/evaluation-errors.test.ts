/** Each way in which a config can be wrong, by a real evaluation. With the host's Nix. */
import { makeNixFixture } from '../support/nixpkgs-fixture.ts';
import { evaluationErrorsSuite } from './evaluation-errors-suite.ts';

evaluationErrorsSuite(() => makeNixFixture());
