# The merged FHS view of a closure: one prefix of symbolic links, made by view.pl.
{
  archive,
  closure,
  lib,
}:
let
  fixups = import ./fixups.nix;

  # perl-base of the suite itself, started by its own loader: the sandbox has no /lib64.
  tools = closure [ "perl-base" ];
  unpackedOf = name: archive.members.${name}.unpacked;
  libraryPath = lib.concatMapStringsSep ":" (member: "${member.unpacked}/usr/lib/${archive.triplet}") tools;
  script = builtins.toFile "view.pl" (builtins.readFile ./view.pl);

  nameOf = package: if builtins.isString package then [ package ] else package.debian.members;
in
# packages: of this set, or Debian's names. base: whether it has the shell and tools that every system has.
{
  packages,
  name ? "fhs",
  base ? true,
}:
let
  explicit = lib.concatMap nameOf packages;
  companions = lib.concatMap (it: fixups.companions.${it} or [ ]) explicit;
  asked = explicit ++ lib.optionals base fixups.base ++ companions;
  members = closure (lib.filter (it: archive.names ? ${it}) (lib.unique asked));
  isExplicit = lib.genAttrs explicit (_: true);
in
derivation {
  inherit name;
  inherit (archive) system triplet;
  builder = "${unpackedOf "libc6"}/usr/lib/${archive.triplet}/${archive.loader}";
  args = [
    "--library-path"
    libraryPath
    "${unpackedOf "perl-base"}/usr/bin/perl"
    "-I${unpackedOf "perl-base"}/usr/lib/${archive.triplet}/perl-base"
    script
  ];
  # One line a member: store path, name, and whether the config names it (which wins where two have the same file).
  members = lib.concatMapStrings (
    member: "${member.unpacked} ${member.name} ${if isExplicit ? ${member.name} then "1" else "0"}\n"
  ) members;
  # { pattern of file or variable → … }: see fixups.nix.
  copied = lib.concatStringsSep "\n" fixups.copied;
  omitted = lib.concatStringsSep "\n" fixups.omitted;
  variables = lib.concatStringsSep "\n" (
    lib.mapAttrsToList (variable: value: "${variable} ${value}") fixups.variables
  );
  path = lib.concatStringsSep "\n" fixups.path;
  passAsFile = [ "members" ];
  preferLocalBuild = true;
  allowSubstitutes = false;
}
