/**
 * Which containers wait, on disk: a file for each, there before the container is made and until a berth has it wholly. What
 * a daemon that was killed leaves there has no berth, or half a berth; the next daemon removes it.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../../core/files.ts';

export interface WaitingMarks {
  set(id: string): void;
  clear(id: string): void;
  /** @returns ids of all that are marked */
  all(): string[];
}

export function createWaitingMarks(directory: string): WaitingMarks {
  return {
    set(id) {
      mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, id), '');
    },
    clear: (id) => rmSync(join(directory, id), { force: true }),
    all() {
      try {
        return readdirSync(directory);
      } catch (error) {
        if (isErrno(error, 'ENOENT')) return [];
        throw error;
      }
    },
  };
}
