/** What an evaluation read, so that it can be told later whether anything of it changed. */

/**
 * One observation. Paths are absolute host paths; nothing under /nix/store is listed, since it can't change.
 * `absent` is a path that was asked for and was not there; `listing` a directory whose entries were read (digest over
 * the sorted names with their types); `link` what a symbolic link pointed to; `exists` that only existence and type
 * were asked; `variable` an environment variable (null: not set).
 */
export type Observation =
  | { readonly kind: 'file'; readonly path: string; readonly digest: string }
  | { readonly kind: 'absent'; readonly path: string }
  | { readonly kind: 'listing'; readonly path: string; readonly digest: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'exists'; readonly path: string; readonly type: 'file' | 'directory' }
  | { readonly kind: 'variable'; readonly name: string; readonly value: string | null };

export type ReadTrace = readonly Observation[];
