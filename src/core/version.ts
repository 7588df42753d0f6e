/** Which Berth this is. */

/** The version in package.json; a test keeps the two equal. */
export const version = '0.1.0';

declare const BERTH_BUILD: string | undefined;

/**
 * Tells one build from another, so that a command notices a daemon that was started from older code. scripts/build.mjs
 * sets it to a digest of the sources; code that runs without a build says `source`.
 */
export const build: string = typeof BERTH_BUILD === 'string' ? BERTH_BUILD : 'source';
