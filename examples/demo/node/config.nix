# Node.js with npm, and a hook that runs before each command.
{ debian, ... }:
{
  packages = [ debian.nodejs debian.npm ];
  shellHook = ''
    export GREETING="hello from node"
  '';
}
