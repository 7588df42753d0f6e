import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readElf } from './elf.ts';

const native = join(import.meta.dirname, '../../../native/bin');

test("knows a static program's machine", () => {
  const read = (machine: string) => readElf(readFileSync(join(native, machine, 'agent')));
  expect(read('x86_64-linux')).toEqual({ machine: 'x64', isStatic: true });
  expect(read('aarch64-linux')).toEqual({ machine: 'arm64', isStatic: true });
});

test('knows a program that needs a loader', () => {
  expect(readElf(readFileSync(process.execPath))).toEqual({ machine: process.arch, isStatic: false });
});

test('knows what is no program', () => {
  expect(readElf(Buffer.from('#!/bin/sh\n'))).toBeUndefined();
  expect(readElf(Buffer.alloc(64))).toBeUndefined();
  const cut = readFileSync(join(native, 'x86_64-linux/agent')).subarray(0, 70);
  expect(readElf(cut)).toBeUndefined();
});
