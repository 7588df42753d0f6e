# Programs of a suite that builds run: started by the suite's own loader, since the sandbox has no /lib64.
{ builds, lib }:
let
  inherit (builds.archive) members triplet;
  loader = "${members.libc6.unpacked}/usr/lib/${triplet}/${builds.archive.loader}";
  libraries = name: lib.concatMapStringsSep ":" (member: "${member.unpacked}/usr/lib/${triplet}") (builds.closure [ name ]);
  unpacked = members.perl-base.unpacked;
in
{
  # perl-base, by its loader and the arguments that come before a script.
  perl = {
    inherit loader;
    arguments = [
      "--library-path"
      (libraries "perl-base")
      "${unpacked}/usr/bin/perl"
      "-I${unpacked}/usr/lib/${triplet}/perl-base"
    ];
  };
}
