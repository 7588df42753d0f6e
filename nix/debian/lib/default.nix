# The part of nixpkgs' lib that configs commonly use, with the same names and meanings.
let
  trivial = import ./trivial.nix;
  lists = import ./lists.nix;
  strings = import ./strings.nix { inherit lists; };
  attrsets = import ./attrsets.nix { inherit lists; };
  versions = import ./versions.nix { inherit lists; };
  packages = import ./packages.nix { inherit strings attrsets; };
  sources = import ./sources.nix { inherit strings; };
in
trivial
// lists
// strings
// attrsets
// packages
// {
  inherit
    trivial
    lists
    strings
    attrsets
    versions
    sources
    ;
  inherit (versions) versionOlder versionAtLeast getVersion;
  inherit (sources) cleanSource cleanSourceWith sourceByRegex;
  meta = { inherit (packages) getExe getExe'; };
}
