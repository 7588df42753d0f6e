/** What all system tests share: a folder for downloads and stores that is kept between runs, so that the second is offline. */
import { mkdirSync } from 'node:fs';
import { testHome } from './test-home.ts';

export function setup(): void {
  mkdirSync(testHome, { recursive: true });
}
