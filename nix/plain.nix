# Several configs of one source at once, and what Berth must know of the source debian to work out by itself what a config
# means that only lists packages (src/sources/debian/plain): its rules as data. The rest it takes from the derivations of
# sample configs.
#
# request.configs: the configs' files, all in request.directory; request.rules: whether the rules are asked for.
let
  request = import ./request.nix;
  loaded = import ./load.nix { inherit request; };
  pkgs = loaded.sources.default;
  fixups = import ./debian/fixups.nix;
  inherit (pkgs.debian) archive;
  there = builtins.filter (name: archive.names ? ${name});

  # The evaluator as it is; but the package set is loaded once for all configs.
  evaluate =
    config:
    builtins.scopedImport {
      import =
        path:
        if path == ./request.nix then
          request // { inherit config; }
        else if path == ./load.nix then
          _: loaded
        else
          import path;
    } ./evaluate.nix;

  # Some names only say what is not there.
  membersOf =
    name:
    let
      tried = builtins.tryEval (if pkgs.${name} ? berthDebian then pkgs.${name}.debian.members else null);
    in
    if tried.success then tried.value else null;
  isOther = name: !(archive.names ? ${name}) || membersOf name != [ name ];
in
{
  evaluated = map (
    config:
    let
      tried = builtins.tryEval (let value = evaluate config; in builtins.deepSeq value value);
    in
    if tried.success then tried.value else null
  ) request.configs;
  rules =
    if request.rules then
      {
        base = there fixups.base;
        companions = builtins.mapAttrs (_: there) fixups.companions;
        inherit (fixups) locales;
        scriptsOnly = builtins.attrNames (import ./debian/scripts-only.nix);
        # Names that are not just the Debian package of that name: what they stand for; null is no package.
        names = builtins.listToAttrs (
          map (name: {
            inherit name;
            value = membersOf name;
          }) (builtins.filter isOther (builtins.attrNames pkgs))
        );
      }
    else
      null;
}
