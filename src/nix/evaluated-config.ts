/** What an evaluation says, as data: the meaning of a config.nix. nix/evaluate.nix prints it as JSON. */
import { z } from 'zod';

/** The result of nix/evaluate.nix. Checked here because it comes from outside. */
export const evaluatedConfigSchema = z.strictObject({
  /** The derivation whose output is the environment: see nix/environment.nix. */
  drvPath: z.string(),
  packages: z.array(z.strictObject({ name: z.string(), version: z.string(), source: z.string() })),
  /** Runs in a shell each time the environment is entered. */
  shellHook: z.string(),
  /** What `berth up` runs in the container; null means it only waits. */
  command: z.array(z.string()).nullable(),
  ports: z.array(z.int().min(1).max(65535)),
  libraries: z.record(z.string(), z.string()),
});

export type EvaluatedConfig = z.infer<typeof evaluatedConfigSchema>;
