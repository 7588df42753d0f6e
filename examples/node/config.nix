# A web server on Node.js.
{ pkgs, ... }:
{
  packages = [ pkgs.nodejs ];
  env.PORT = 3000;
  command = [
    "node"
    "server.js"
  ];
  ports = [ 3000 ];
}
