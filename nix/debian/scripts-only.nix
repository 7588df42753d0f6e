# Packages that others depend on for their maintainer scripts alone. Berth does not run those, so these stay out of
# closures unless a config names them.
{
  adduser = true; # makes system users; view.pl makes etc/passwd instead
  cdebconf = true;
  debconf = true; # asks questions at installation
  debconf-i18n = true;
  init-system-helpers = true; # starts services at installation
  install-info = true;
  libpam-systemd = true;
  lsb-base = true; # functions for init scripts
  dpkg = true; # pre-depended on for features of the installer
  systemd = true; # a container has Berth's agent as its PID 1
  systemd-sysv = true;
  sysvinit-utils = true;
  ucf = true; # merges configuration files at upgrades
}
