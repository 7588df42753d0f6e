/** What an evaluation reads is observed, and every way in which others go stale is seen. With the host's Nix. */
import { makeNixFixture } from '../support/nixpkgs-fixture.ts';
import { readTraceSuite } from './read-trace-suite.ts';

readTraceSuite(() => makeNixFixture());
