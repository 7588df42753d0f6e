# Functions over versions.
{ lists }:
let
  parts = version: lists.filter (x: builtins.isString x && x != "") (builtins.split "[.]" version);
  part = index: version: builtins.elemAt (parts version) index;
in
rec {
  splitVersion = builtins.splitVersion;
  major = part 0;
  minor = part 1;
  patch = part 2;
  majorMinor = version: "${major version}.${minor version}";
  versionOlder = a: b: builtins.compareVersions b a == 1;
  versionAtLeast = a: b: !(versionOlder a b);
  getVersion = x: if builtins.isAttrs x then x.version or (getVersion x.name) else (builtins.parseDrvName x).version;
}
