# Functions over folders of source files.
{ strings }:
rec {
  cleanSourceFilter =
    name: type:
    let
      base = baseNameOf (toString name);
    in
    !(
      (type == "directory" && (base == ".git" || base == ".svn" || base == ".hg"))
      || strings.hasSuffix "~" base
      || strings.hasSuffix ".o" base
      || (type == "symlink" && strings.hasPrefix "result" base)
    );
  cleanSourceWith =
    {
      src,
      filter ? _: _: true,
      name ? "source",
    }:
    builtins.path {
      inherit name filter;
      path = src;
    };
  cleanSource =
    src:
    cleanSourceWith {
      inherit src;
      filter = cleanSourceFilter;
    };
  sourceByRegex =
    src: patterns:
    let
      root = toString src;
    in
    cleanSourceWith {
      inherit src;
      filter =
        path: _:
        let
          relative = strings.removePrefix "${root}/" (toString path);
        in
        builtins.any (pattern: builtins.match pattern relative != null) patterns;
    };
}
