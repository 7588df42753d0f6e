# The merged FHS view of a closure: one prefix of symbolic links, made by view.pl.
{
  archive,
  closure,
  builds,
  lib,
}:
let
  fixups = import ./fixups.nix;

  inherit (import ./perl.nix { inherit builds lib; }) perl;
  script = builtins.toFile "view.pl" (builtins.readFile ./view.pl);
  lines = lib.concatStringsSep "\n";

  certificates = import ./certificates.nix { inherit archive builds perl; };
  # Made from members that are in the closure: what their scripts would have made, as one more member.
  made = {
    ca-certificates = certificates;
  };

  namesOf = package: if builtins.isString package then [ package ] else package.debian.members;
in
# packages: of this set, or Debian's names. base: whether it has the shell and tools that every system has.
# links: further trees to merge, of packages that are beside the view (beside.nix).
{
  packages,
  links ? [ ],
  name ? "fhs",
  base ? true,
}:
let
  explicit = lib.concatMap namesOf packages;
  wished = lib.optionals base fixups.base ++ lib.concatMap (it: fixups.companions.${it} or [ ]) explicit;
  members = closure (explicit ++ lib.filter (it: archive.names ? ${it}) wished);
  isExplicit = lib.genAttrs explicit (_: true);
  isMember = lib.genAttrs (map (it: it.name) members) (_: true);
  line = path: member: named: "${path} ${member} ${if named then "1" else "0"}\n";
in
derivation {
  inherit name base;
  inherit (archive) triplet;
  system = archive.buildSystem;
  shell = archive.containerShell;
  builder = perl.loader;
  args = perl.arguments ++ [ script ];
  # One line a member: store path, name, and whether the config names it (which wins where two have the same file).
  members =
    lib.concatMapStrings (member: line member.unpacked member.name (isExplicit ? ${member.name})) members
    + lib.concatStrings (
      lib.mapAttrsToList (member: path: lib.optionalString (isMember ? ${member}) (line path "~${member}" false)) made
    )
    + lib.concatStrings (lib.imap0 (index: tree: line tree "~link${toString index}" false) links);
  copied = lines (fixups.copied ++ lib.optionals (!base) fixups.copiedAlone);
  copiedWhereMerged = lines fixups.copiedWhereMerged;
  omitted = lines (fixups.omitted ++ lib.optionals (!(lib.any (it: isMember ? ${it}) fixups.locales)) fixups.translations);
  variables = lines (lib.mapAttrsToList (variable: path: "${variable} ${path}") fixups.variables);
  path = lines fixups.path;
  passAsFile = [ "members" ];
  preferLocalBuild = true;
  allowSubstitutes = false;
}
