/**
 * Gives a berth that is there another environment. The order makes it whole or nothing: the new generation is written
 * where nobody sees it, the agent is asked, it is recorded, and one rename switches. What fails before leaves all as it
 * was; what fails after is taken back; a crash between record and rename is made up for by `finishSwitch`.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import { agentSocket } from '../engine/run-directory.ts';
import {
  currentGeneration,
  dropGenerations,
  generationFolder,
  switchGeneration,
  writeGeneration,
  type BerthContent,
} from '../materialise/generation.ts';
import type { BerthRecord, BerthRecords } from './berth-records.ts';
import { describeDifference } from './generation-difference.ts';
import type { Generation, Generations } from './generations.ts';

export interface SwitchOptions {
  readonly records: BerthRecords;
  readonly generations: Generations;
  /** How many generations of a berth are kept. */
  readonly keep: number;
  /**
   * Has the agent link what the FHS view has in /etc: with a generation before the switch to it, without after.
   * @throws BerthError AGENT_UNREACHABLE
   */
  readonly refreshAgent: (agentSocket: string, generation?: number) => Promise<void>;
}

/** From what to what a berth was switched. */
export interface Switched {
  readonly from: number;
  readonly to: number;
  readonly difference: Generation['difference'];
  /** Whether it needed a new container, so that what ran in the old one has ended. */
  readonly replaced: boolean;
}

/**
 * @param before the berth as it is recorded
 * @param record as it is to be, with the number of its new generation
 * @param running whether there is an agent
 * @throws BerthError DISK_FULL, AGENT_UNREACHABLE, and what recording throws; the berth then has its old environment
 */
export async function switchBerth(
  { records, generations, keep, refreshAgent }: SwitchOptions,
  before: BerthRecord,
  record: BerthRecord,
  generation: Generation,
  content: BerthContent,
  running: boolean,
): Promise<Switched> {
  const { runDirectory, name } = record.spec;
  const socket = agentSocket(runDirectory);
  const drop = () => rmSync(join(runDirectory, generationFolder(generation.number)), { recursive: true, force: true });
  const change = generation.difference === null ? undefined : describeDifference(generation.difference);
  try {
    writeGeneration(runDirectory, generation.number, content, change);
    if (running) await refreshAgent(socket, generation.number);
    records.save(record, () => generations.save(name, generation));
  } catch (error) {
    drop();
    throw diskFull(error, runDirectory);
  }
  try {
    switchGeneration(runDirectory, generation.number);
    if (running) await refreshAgent(socket);
  } catch (error) {
    if (currentGeneration(runDirectory) === generation.number) switchGeneration(runDirectory, before.generation);
    records.save(before, () => generations.delete(name, generation.number));
    drop();
    throw diskFull(error, runDirectory);
  }
  dropGenerations(runDirectory, generations.trim(name, keep, record.startedWith));
  return { from: before.generation, to: generation.number, difference: generation.difference, replaced: false };
}

/** Makes true what is recorded, where a crash came between the record and the switch. */
export function finishSwitch({ spec, generation }: BerthRecord): void {
  if (currentGeneration(spec.runDirectory) === generation) return;
  if (existsSync(join(spec.runDirectory, generationFolder(generation))))
    switchGeneration(spec.runDirectory, generation);
}

function diskFull(error: unknown, folder: string): unknown {
  if (!isErrno(error, 'ENOSPC', 'EDQUOT')) return error;
  return new BerthError('DISK_FULL', `There is no space left on the disk of ${folder}.`, { cause: error });
}
