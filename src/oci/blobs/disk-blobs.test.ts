import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { testBlobStore } from './blob-store-contract.ts';
import { diskBlobs } from './disk-blobs.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-blobs-'));
afterAll(() => rmSync(folder, { recursive: true }));

testBlobStore('a folder', () => Promise.resolve(diskBlobs(folder)));
