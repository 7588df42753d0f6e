# nix-shell's shape: what `pkgs.mkShell` gives.
{ pkgs ? import <nixpkgs> { } }:

pkgs.mkShell {
  packages = [
    pkgs.gcc
    pkgs.gnumake
  ];

  CFLAGS = "-O2 -Wall";

  shellHook = ''
    export BUILD_DIR=$PWD/build
  '';
}
