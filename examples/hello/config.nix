# Berth's own shape: a function from package sources to what the environment has.
{ pkgs, ... }:
{
  packages = [
    pkgs.git
    pkgs.ripgrep
    pkgs.jq
  ];
  env.GREETING = "hello from berth";
  shellHook = ''
    echo "$GREETING"
  '';
}
