/**
 * The version that a project gave a release, out of Debian's version of its package (deb-version(7), Debian policy 3.2.1 and
 * 5.6.12): without the epoch, the revision, and what Debian's maintainers append.
 *
 *     4:12.2.0-3            12.2.0      1:9.2p1-2+deb12u3   9.2p1
 *     18.20.4+dfsg-1~deb12u3  18.20.4   2:1.24~2            1.24
 *     24.22.2+dfsg+~cs24.19.2-1  24.22.2  15+248            15
 *     3.0~rc1-2             3.0~rc1     (a tilde with letters is a pre-release, and stays one)
 */

/** @returns for example `18.20.4` of `18.20.4+dfsg-1~deb12u3` */
export function upstreamVersion(debianVersion: string): string {
  const withoutEpoch = debianVersion.replace(/^\d+:/, '');
  const hyphen = withoutEpoch.lastIndexOf('-');
  const upstream = hyphen === -1 ? withoutEpoch : withoutEpoch.slice(0, hyphen);
  // `~rc1`, `~beta2` and the like are the project's own; `~2`, `~ds1`, `~deb12u1`, `~dfsg` are Debian's.
  return upstream.replace(/\+.*$/, '').replace(/~(?!(?:alpha|beta|rc|pre|dev|a|b)\d*).*$/, '');
}
