/**
 * Headers by which a client and the daemon notice that they are not the same build or have not the same settings. A
 * daemon that a command has started and that has no work leaves then, so that the client starts it anew.
 */

/** The client's build. */
export const buildHeader = 'x-berth-build';
/** The client's settingsDigest. */
export const settingsHeader = 'x-berth-settings';
/** Set on the answers of a daemon that differs and stays, because it has work or was told to: what differs, in words. */
export const outdatedHeader = 'x-berth-outdated';
