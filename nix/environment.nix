# Makes the environment's derivation from any derivation that nix-shell could enter: its builder is run again with
# get-env.sh, which writes what a shell in it would have to $out:
#   variables   exported variables, NUL-separated K=V
#   functions   bash functions, where the builder is bash
#   hook        the shellHook, when there is one (kept here so that the closure has what it refers to)
#   command     the config's command as JSON, when there is one
#   fhs         a link to the FHS view, when a package needs one
# The method is that of `nix develop` and of nixpkgs' inputDerivation.
{
  # The derivation that the config gives.
  derivation,
  # Variables that win over the derivation's: { NAME = "text"; }.
  variables ? { },
  # Packages added to the derivation's own.
  extraPackages ? [ ],
  # The same, whose programs are found before all others.
  firstPackages ? [ ],
  # A list of strings, or null.
  command ? null,
  # The FHS view's store path, or null for the derivation's own `berthFhs`.
  fhs ? null,
  # Folders at the end of PATH, colon-separated.
  pathSuffix ? "",
  # A package with mkdir, cat and ln, for a derivation that has no stdenv.
  tools ? null,
}:

let
  inputs = derivation.drvAttrs;
  names = builtins.attrNames variables;
  view = if fhs != null then fhs else inputs.berthFhs or null;
  optional = condition: set: if condition then set else { };

  kept = removeAttrs inputs [
    "args"
    "outputs"
    "outputHash"
    "outputHashAlgo"
    "outputHashMode"
    "outputChecks"
    "allowedReferences"
    "allowedRequisites"
    "disallowedReferences"
    "disallowedRequisites"
    "passAsFile"
    "__contentAddressed"
    "__impure"
    "berthFhs"
  ];
in
builtins.derivation (
  kept
  // {
    # The same for every project, so that equal environments are one path.
    name = "environment";
    outputs = [ "out" ];
    args = (if baseNameOf (toString inputs.builder) == "busybox" then [ "sh" ] else [ ]) ++ [ ./get-env.sh ];
    preferLocalBuild = true;
    allowSubstitutes = false;
    berthDumpBash = ./dump-exports.bash;
    berthName = inputs.name;
    berthVariables = builtins.concatStringsSep " " names;
  }
  // builtins.listToAttrs (
    builtins.genList (index: {
      name = "berthVariable${toString index}";
      value = variables.${builtins.elemAt names index};
    }) (builtins.length names)
  )
  // optional (firstPackages ++ extraPackages != [ ]) (
    if inputs ? berthPath then
      {
        berthPath = builtins.concatStringsSep ":" (
          map (package: "${package}/bin") firstPackages
          ++ (if inputs.berthPath == "" then [ ] else [ inputs.berthPath ])
          ++ map (package: "${package}/bin") extraPackages
        );
      }
    else
      { nativeBuildInputs = firstPackages ++ (inputs.nativeBuildInputs or [ ]) ++ extraPackages; }
  )
  // optional (command != null) { berthCommand = builtins.toJSON command; }
  // optional (view != null) { berthFhs = view; }
  // optional (pathSuffix != "") { berthPathSuffix = pathSuffix; }
  // optional (!(inputs ? stdenv) && tools != null) { berthTools = "${tools}/bin"; }
)
