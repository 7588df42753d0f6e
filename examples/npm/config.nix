# A project in JavaScript whose libraries come from its package-lock.json: no install step in the container.
{ pkgs, ... }:
{
  packages = [
    pkgs.nodejs
    pkgs.npm
  ];
  libraries = {
    npm = ./package-lock.json;
  };
  command = [
    "npm"
    "test"
  ];
}
