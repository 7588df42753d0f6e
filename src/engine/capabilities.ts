/**
 * The capabilities of root in a berth: Docker's default list without the two that only harm, MKNOD (device nodes) and
 * NET_RAW (forged packets on a shared network). AUDIT_WRITE and SETFCAP stay, since package managers use them.
 */
export const capabilities = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
] as const;
