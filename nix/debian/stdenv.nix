# The part of nixpkgs' stdenv that configs look at. Nothing is compiled from source here: mkDerivation says so.
{ system, lib, ... }:
let
  isX86_64 = system == "x86_64-linux";
  platform = {
    inherit system;
    config = if isX86_64 then "x86_64-unknown-linux-gnu" else "aarch64-unknown-linux-gnu";
    parsed = {
      cpu.name = if isX86_64 then "x86_64" else "aarch64";
      kernel.name = "linux";
    };
    isLinux = true;
    isDarwin = false;
    isUnix = true;
    isWindows = false;
    is64bit = true;
    isx86 = isX86_64;
    isx86_64 = isX86_64;
    isAarch64 = !isX86_64;
    isGnu = true;
    isMusl = false;
    isStatic = false;
    libc = "glibc";
    extensions = {
      sharedLibrary = ".so";
      executable = "";
      library = ".so";
      staticLibrary = ".a";
    };
  };
in
{
  name = "stdenv-debian";
  outPath = "${./stdenv}";
  inherit system;
  hostPlatform = platform;
  buildPlatform = platform;
  targetPlatform = platform;
  inherit (platform)
    isLinux
    isDarwin
    isx86_64
    isAarch64
    is64bit
    ;
  mkDerivation = throw "The source `debian` has finished packages only: stdenv.mkDerivation needs the source `nixpkgs`.";
}
