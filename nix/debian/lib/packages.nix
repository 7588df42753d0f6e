# Functions over packages, and what says something of them.
{ strings, attrsets }:
rec {
  getName = x: if builtins.isAttrs x then x.pname or (getName x.name) else (builtins.parseDrvName x).name;
  getExe = package: getExe' package (package.meta.mainProgram or (getName package));
  getExe' = package: program: "${getBin package}/bin/${program}";
  getOutput = output: package: if builtins.isAttrs package then package.${output} or package.out or package else package;
  getBin = getOutput "bin";
  getLib = getOutput "lib";
  getDev = getOutput "dev";
  getMan = getOutput "man";
  setName = name: package: package // { inherit name; };
  addMetaAttrs = meta: package: package // { meta = (package.meta or { }) // meta; };
  lowPrio = package: package;
  hiPrio = package: package;
  makeOverridable = f: arguments: f arguments // { override = change: makeOverridable f (arguments // change); };
  systems = {
    flakeExposed = [ "x86_64-linux" "aarch64-linux" ];
  };
  # Debian says a licence for each file, in the package's usr/share/doc, so packages here have no meta.license.
  platforms = {
    linux = [ "x86_64-linux" "aarch64-linux" ];
    all = [ "x86_64-linux" "aarch64-linux" ];
    unix = [ "x86_64-linux" "aarch64-linux" ];
  };
}
