# A package of this suite for an environment whose /usr is of another: a prefix whose programs bring their own loader and
# libraries (beside.pl). It is no part of a view, so it is no package of Debian's to mkShell.
{
  archive,
  closure,
  builds,
  suite,
  lib,
}:
let
  inherit (import ../errors.nix) fail;
  inherit (import ./perl.nix { inherit builds lib; }) perl;
  fixups = import ./fixups.nix;
  script = builtins.toFile "beside.pl" (builtins.readFile ./beside.pl);

  # What is of use only within /usr: it can't be there twice.
  isPartOfUsr = name: builtins.match "lib[a-z0-9.+-]*-dev|g(cc|[+][+]|fortran)(-[0-9].*)?|clang(-[0-9].*)?|libc6|locales(-all)?|ca-certificates" name != null;
in
# package: of this set. wanted: the version as the config says it.
{ package, wanted }:
let
  asked = package.debian.members;
  members = closure asked;
  isMember = lib.genAttrs (map (it: it.name) members) (_: true);
  isAsked = lib.genAttrs asked (_: true);
  needsOf = member: lib.unique (lib.filter (it: isMember ? ${it}) (builtins.concatLists (member.entry.needs or [ ])));
  line =
    member:
    lib.concatStringsSep " " (
      [
        "${member.unpacked}"
        member.name
        (if isAsked ? ${member.name} then "1" else "0")
      ]
      ++ needsOf member
    )
    + "\n";
  # Names that programs and libraries have in them, and the link in the environment's view that stands for each: as long as
  # the name, and of this package alone.
  linkFor =
    purpose: name:
    "/usr/berth/"
    + builtins.substring 0 (builtins.stringLength name - 11) (
      builtins.hashString "sha256" "${builtins.unsafeDiscardStringContext package.drvPath} ${purpose}"
    );
  name =
    kind: from: target: rest:
    { inherit kind from target rest; to = linkFor kind from; };
  names = [
    (name "loader" archive.loaderPath "${built}/moved/${archive.loader}" "")
    # The loader looks here first.
    (name "folder" "/lib/${archive.triplet}" "${built}/moved" "")
    (name "folder" "/usr/lib/${archive.triplet}" "${package}/usr/lib/${archive.triplet}" "")
  ]
  ++ map (it: name "library" it.folder "${built}${it.folder}" it.library) moved;
  moved = lib.filter (it: isMember ? ${it.package}) fixups.moved;
  links = derivation {
    name = archive.storeName "${package.name}-links";
    system = archive.buildSystem;
    builder = archive.shell;
    args = [
      (builtins.toFile "links.sh" "mkdir -p $out/usr/berth\nset -f\nfor it in $links; do ln -s \"\${it#*:}\" \"$out\${it%%:*}\"; done\n")
    ];
    links = map (it: "${it.to}:${it.target}") names;
    preferLocalBuild = true;
    allowSubstitutes = false;
  };
  built = derivation {
    name = archive.storeName "${package.name}-beside";
    system = archive.buildSystem;
    builder = perl.loader;
    args = perl.arguments ++ [ script ];
    prefix = "${package}";
    names = lib.concatMapStrings (it: "${it.kind} ${it.from} ${it.to} ${it.rest}\n") names;
    whole = map (it: builtins.substring 1 (-1) it.folder) moved;
    inherit (archive) triplet loader;
    inherit suite wanted;
    package = package.pname;
    shell = archive.containerShell;
    members = lib.concatMapStrings line members;
    passAsFile = [ "members" ];
    preferLocalBuild = true;
    allowSubstitutes = false;
  };
  refused = lib.filter isPartOfUsr asked;
  # The same prefix, by a folder of it: buildEnv's and mkShell's `bin` output.
  at = folder: {
    type = "derivation";
    inherit (package) pname version system meta;
    name = package.name;
    outPath = "${built}${folder}";
    inherit (built) drvPath;
    outputs = [ "out" ];
    outputName = "out";
    passthru = { };
    berthLinks = [ links ];
  };
in
if refused != [ ] then
  fail "VERSION_NOT_BESIDE" {
    name = package.pname;
    other = builtins.head refused;
    source = "debian ${suite}";
  }
else
  at "" // { named = at "/named"; }
