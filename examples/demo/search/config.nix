# git and ripgrep.
{ debian, ... }:
{
  packages = [ debian.git debian.ripgrep ];
}
