# Lists a source's packages, for search: every package of the top level, and of the sets that nixpkgs says to look into.
# What can't be evaluated is left out.
let
  request = builtins.fromJSON (builtins.readFile <berth-request>);
  sources = import ./sources.nix {
    inherit request;
    importFile = import;
  };
  packages = sources.default;

  isSet = value: builtins.isAttrs value;
  isPackage = value: isSet value && value.type or null == "derivation";
  try = value: builtins.tryEval (builtins.deepSeq value value);

  entry =
    name: package:
    let
      facts = try {
        inherit name;
        version = package.version or (builtins.parseDrvName package.name).version;
        description = toString (package.meta.description or "");
      };
    in
    if facts.success then [ facts.value ] else [ ];

  # Two levels are enough for all that nixpkgs itself lists but for a few sets of sets.
  list =
    depth: prefix: set:
    builtins.concatMap (
      name:
      let
        value = builtins.tryEval set.${name};
        kind = builtins.tryEval (
          if isPackage value.value then
            "package"
          else if isSet value.value && value.value.recurseForDerivations or false == true then
            "set"
          else
            "other"
        );
      in
      if !value.success || !kind.success then
        [ ]
      else if kind.value == "package" then
        entry (prefix + name) value.value
      else if kind.value == "set" && depth > 0 then
        list (depth - 1) "${prefix}${name}." value.value
      else
        [ ]
    ) (builtins.attrNames set);
in
if request.namesOnly then
  map (name: {
    inherit name;
    version = "";
    description = "";
  }) (builtins.attrNames packages)
else
  list 1 "" packages
