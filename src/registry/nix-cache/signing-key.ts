/** The key that a binary cache signs its paths with: Ed25519, in Nix's own text form `NAME:BASE64`. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';
import { toNixBase32 } from '../../nix/base32.ts';
import type { PathInfo } from '../../nix/path-info.ts';

export interface SigningKey {
  readonly name: string;
  /** What a client puts into its trusted-public-keys. */
  readonly publicKey: string;
  /** @returns `NAME:BASE64` */
  sign(fingerprint: string): string;
}

/** What is signed of a path (Nix, ValidPathInfo::fingerprint). */
export function fingerprintOf(info: PathInfo): string {
  return ['1', info.path, `sha256:${toNixBase32(info.narHash)}`, String(info.narSize), info.references.join(',')].join(
    ';',
  );
}

/**
 * Reads the key, or makes it where the file is not there yet. The file is as `nix-store --generate-binary-cache-key`
 * writes it, and its owner's alone.
 * @param name of a new key; ends in a number by custom
 * @throws BerthError SETTING_INVALID when the file holds no such key
 */
export async function openSigningKey(file: string, name: string): Promise<SigningKey> {
  try {
    return parseSigningKey(await readFile(file, 'utf8'), file);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const secret = Buffer.concat([Buffer.from(jwk.d ?? '', 'base64url'), Buffer.from(jwk.x ?? '', 'base64url')]);
  await mkdir(dirname(file), { recursive: true });
  try {
    await writeFile(file, `${name}:${secret.toString('base64')}`, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    // Another process was first: its key counts.
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  return parseSigningKey(await readFile(file, 'utf8'), file);
}

function parseSigningKey(text: string, file: string): SigningKey {
  const [, name = '', encoded = ''] = /^([^:\s]+):([A-Za-z0-9+/=]+)\s*$/.exec(text) ?? [];
  const secret = Buffer.from(encoded, 'base64');
  // libsodium's form: the seed of 32 bytes, then the public key.
  if (name === '' || secret.length !== 64) {
    throw new BerthError('SETTING_INVALID', `${file} holds no key of a Nix binary cache.`, {
      hint: 'Make one by `nix-store --generate-binary-cache-key NAME FILE PUBLIC-FILE`, or remove the file.',
    });
  }
  const key: KeyObject = createPrivateKey({
    key: {
      kty: 'OKP',
      crv: 'Ed25519',
      d: secret.subarray(0, 32).toString('base64url'),
      x: secret.subarray(32).toString('base64url'),
    },
    format: 'jwk',
  });
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' });
  return {
    name,
    publicKey: `${name}:${Buffer.from(x, 'base64url').toString('base64')}`,
    sign: (fingerprint) => `${name}:${sign(null, Buffer.from(fingerprint), key).toString('base64')}`,
  };
}
