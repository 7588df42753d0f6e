# A project in Python whose libraries come from its hashed requirements.txt: no install step in the container.
{ pkgs, ... }:
{
  packages = [
    pkgs.python3
    pkgs.python3-pip
  ];
  libraries = {
    python = ./requirements.txt;
  };
  command = [
    "python"
    "-m"
    "unittest"
  ];
}
