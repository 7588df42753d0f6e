/** Who may do what in which repository. The registry asks; what answers is given to it. */
import { Refusal } from './refusal.ts';

export type Action = 'pull' | 'push' | 'delete';

/** What the caller of one request may do. */
export interface Access {
  /** Whose work it is, for quotas and queues. */
  readonly tenant: string;
  readonly rights: (repository: string) => Readonly<Record<Action, boolean>>;
}

/**
 * Knows the caller of a request.
 * @throws Refusal UNAUTHORIZED; or a BerthError of the same code
 */
export type Authorise = (request: Request) => Access | Promise<Access>;

const all = { pull: true, push: true, delete: true } as const;

/** Lets everyone do everything: for listeners that are guarded elsewhere. */
export const openAccess: Access = { tenant: 'local', rights: () => all };

/** @throws Refusal DENIED */
export function checkAccess(access: Access, repository: string, action: Action): void {
  if (access.rights(repository)[action]) return;
  throw new Refusal(
    'DENIED',
    `You may not ${action} ${action === 'delete' ? 'in' : action === 'push' ? 'to' : 'from'} ${repository}.`,
  );
}
