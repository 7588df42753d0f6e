/** Where Berth's native programs for this machine are. */
import { join } from 'node:path';

const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64';

export const nativeDirectory = join(import.meta.dirname, `../../native/bin/${arch}-linux`);
