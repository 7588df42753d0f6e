# Packages of versions that a config names: `at "nodejs" "18"`. The lock says which they are (request.packages); one that is
# not locked stands for itself until all that are missing are known, so that they are locked in one go
# (src/environment/package-locks.ts).
{ request, sources }:

let
  inherit (import ./errors.nix) fail;

  locked = request.packages or { };
  keyOf = kind: name: wanted: "${if kind == "at" then "" else "${kind}:"}${name}@${wanted}";

  outside = import ./outside.nix { inherit request sources; };

  isName = value: builtins.isString value && value != "";

  missing =
    wanted:
    let
      needed = fail "PACKAGES_NEEDED" { packages = [ wanted ]; };
    in
    {
      type = "derivation";
      berthNeeded = wanted;
      name = needed;
      outPath = needed;
      drvPath = needed;
    };

  walk =
    set: path: name:
    if path == [ ] then
      set
    else if builtins.isAttrs set && set ? ${builtins.head path} then
      walk set.${builtins.head path} (builtins.tail path) name
    else
      fail "UNKNOWN_PACKAGE" { inherit name; };

  # Of a source's revision. Packages of another suite than /usr's are beside it.
  fromSource =
    entry:
    let
      inherit (entry.pin) source attribute;
      set = sources.get source;
      isDebian = request.sources.${source}.kind == "debian";
      # Debian's names hold dots; in nixpkgs dots part sets.
      package = walk set (
        if isDebian then [ attribute ] else builtins.filter builtins.isString (builtins.split "\\." attribute)
      ) attribute;
    in
    if !isDebian || source == request.defaultSource then
      package
    else
      set.beside {
        inherit package;
        inherit (entry) wanted;
      }
      // {
        berthSource = "debian ${request.sources.${source}.suite}";
      };

  pinned =
    kind: name: wanted:
    let
      key = keyOf kind name wanted;
    in
    if !isName name || !isName wanted then
      fail "CONFIG_TYPE" {
        key = kind;
        expected = "given a name and a version, both text, as in `at \"nodejs\" \"18\"`";
        actual = "given something else";
      }
    else if locked ? ${key} then
      (if kind == "at" then fromSource else outside.make) locked.${key}
    else
      missing { inherit kind name wanted; };

  isMissing = package: package ? berthNeeded;
  isBeside = package: package ? named;
  newerThan = a: b: builtins.compareVersions a.version b.version > 0;

  # A user's own source: source { url = "https://…"; rev = "…"; overlays = [ ./overlay.nix ]; config = { }; }
  ownSource =
    {
      url,
      rev ? "",
      overlays ? [ ],
      config ? { },
    }:
    let
      from = { url = toString url; rev = toString rev; };
      name = "own-${builtins.substring 0 16 (builtins.hashString "sha256" (builtins.toJSON from))}";
      load = overlay: if builtins.isFunction overlay then overlay else sources.importFile overlay;
    in
    if sources.has name then
      sources.load name {
        inherit config;
        overlays = map load overlays;
      }
    else
      fail "SOURCE_NEEDED" {
        source = name;
        inherit from;
      };
in
{
  at = pinned "at";
  source = ownSource;
  # From outside of the sources.
  npm = pinned "npm";
  pypi = pinned "pypi";
  crate = pinned "crate";
  goModule = pinned "goModule";
  inherit (outside) override;
  # url "NAME" "https://…", or with the hash: url "NAME" { url = "https://…"; hash = "sha256-…"; }
  url =
    name: file:
    if builtins.isAttrs file then
      outside.make {
        kind = "url";
        inherit name;
        wanted = file.url;
        version = file.version or (builtins.substring 7 8 file.hash);
        origin = "url";
        pin = { inherit (file) url hash; };
      }
    else
      pinned "url" name file;

  # Packages of a list: fails where some are not locked yet, and settles which of several versions has the plain names of
  # its programs. That is the one in /usr, else the newest; the others have NAME@VERSION only.
  settle =
    packages:
    let
      needed = builtins.filter isMissing packages;
      same = package: other: other.pname or null == package.pname;
      hides =
        package: other:
        same package other && (!(isBeside other) || newerThan other package);
    in
    if needed != [ ] then
      fail "PACKAGES_NEEDED" { packages = map (it: it.berthNeeded) needed; }
    else
      map (
        package:
        if isBeside package && builtins.any (hides package) packages then
          package.named // { inherit (package) berthSource; }
        else
          package
      ) packages;
}
