# Packages of two sources side by side: the default one, and Debian's by name. Files of the project can be read too.
{
  pkgs,
  debian,
  lib,
  ...
}:
let
  settings = builtins.fromJSON (builtins.readFile ./settings.json);
in
{
  packages = [
    pkgs.python3
    debian.sqlite3
  ];
  env = lib.mapAttrs (_: toString) settings;
}
