/** One daemon for each home: a lock that the kernel takes back when the process dies, however it dies. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'libsql';

export interface HomeLock {
  release(): void;
}

/**
 * Takes the lock. It is SQLite's exclusive lock on a database of its own, thus a POSIX record lock: no file that is
 * left behind by a crash can hold it.
 * @returns the lock, or undefined when another process has it
 */
export function tryLockHome(file: string): HomeLock | undefined {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new Database(file);
  try {
    database.pragma('journal_mode = MEMORY');
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (isBusy(error)) return undefined;
    throw error;
  }
  return {
    release() {
      // Closing alone leaves the lock until the object is collected.
      database.exec('ROLLBACK');
      database.close();
    },
  };
}

function isBusy(error: unknown): boolean {
  return (
    error instanceof Error &&
    (('code' in error && String(error.code).startsWith('SQLITE_BUSY')) || /locked/.test(error.message))
  );
}
