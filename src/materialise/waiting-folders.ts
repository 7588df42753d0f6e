/**
 * The folders of containers that wait for an environment. Each has its first generation already: as the berth before had
 * it, since the next often has the same. A claim then writes what differs over it and makes no file, which takes a
 * millisecond each where many were removed lately (ext4 passes over the inodes freed in the last minutes one by one).
 * Variables are not left there: they may be secret.
 */
import { closeSync, constants, mkdirSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StorePath } from '../nix/store.ts';
import {
  type BerthContent,
  defaultFhs,
  generationFiles,
  generationFolder,
  switchGeneration,
  writeGeneration,
} from './generation.ts';
import { writeBerthContent, writeCommand } from './shared-store.ts';

export interface WaitingFolders {
  /** Writes the folder of a container that is about to be made to wait. */
  prepare(runDirectory: string): void;
  /** The container is gone. */
  forget(runDirectory: string): void;
  /** Writes a berth's folder: that of a container that waited, where nothing has run yet, or a new one. */
  write(runDirectory: string, content: BerthContent, generation: number): void;
}

type Left = Pick<BerthContent, 'shellHook' | 'functions' | 'fhs'>;

/** The generation that is written ahead. */
const first = 1;
const nothing: Left = { shellHook: '', functions: '', fhs: null };

/** @param isThere whether a path is in the store now */
export function createWaitingFolders(isThere: (path: StorePath) => boolean): WaitingFolders {
  const prepared = new Map<string, Left>();
  let last = nothing;
  return {
    prepare(runDirectory) {
      const left = last.fhs === null || isThere(last.fhs) ? last : nothing;
      mkdirSync(runDirectory, { recursive: true, mode: 0o755 });
      writeGeneration(runDirectory, first, { ...left, variables: {} });
      switchGeneration(runDirectory, first);
      prepared.set(runDirectory, left);
    },
    forget: (runDirectory) => void prepared.delete(runDirectory),
    write(runDirectory, content, generation) {
      const left = prepared.get(runDirectory);
      prepared.delete(runDirectory);
      last = { shellHook: content.shellHook, functions: content.functions, fhs: content.fhs };
      if (left && generation === first) writeOver(runDirectory, left, content);
      else {
        writeBerthContent(runDirectory, content, generation);
        if (left) rmSync(join(runDirectory, generationFolder(first)), { recursive: true, force: true });
      }
    },
  };
}

/** Nobody but Berth has written the folder yet, so that what is there is what was left there. */
function writeOver(runDirectory: string, left: Left, content: BerthContent): void {
  const folder = join(runDirectory, generationFolder(first));
  const before = generationFiles(first, { ...left, variables: {} });
  const after = generationFiles(first, content);
  for (const [name, text] of Object.entries(after)) {
    if (before[name] !== text) overwrite(join(folder, name), text);
  }
  for (const name of Object.keys(before)) if (after[name] === undefined) rmSync(join(folder, name));
  if (left.fhs !== content.fhs) {
    rmSync(join(folder, 'fhs'));
    symlinkSync(content.fhs ?? defaultFhs, join(folder, 'fhs'));
  }
  writeCommand(runDirectory, content.command);
}

function overwrite(file: string, text: string): void {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
  const descriptor = openSync(file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644);
  try {
    writeFileSync(descriptor, text);
  } finally {
    closeSync(descriptor);
  }
}
