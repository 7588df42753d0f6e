# git and ripgrep, in the shape that replit.nix files have.
{ pkgs }:
{
  deps = [ pkgs.git pkgs.ripgrep ];
}
