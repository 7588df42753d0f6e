# mkShell over a merged FHS view: see default.nix for what its derivation holds.
{
  archive,
  fhsView,
  lib,
}:
let
  builder = builtins.toFile "shell.sh" "mkdir $out\n";

  # Attributes of mkShell that say something to it; all others are variables, as in nixpkgs.
  special = [
    "packages"
    "nativeBuildInputs"
    "buildInputs"
    "propagatedBuildInputs"
    "propagatedNativeBuildInputs"
    "inputsFrom"
    "shellHook"
    "env"
    "name"
    "pname"
    "version"
    "stdenv"
    "passthru"
    "meta"
  ];

  inputsOf =
    shell:
    (shell.packages or [ ])
    ++ (shell.nativeBuildInputs or [ ])
    ++ (shell.buildInputs or [ ])
    ++ (shell.propagatedBuildInputs or [ ])
    ++ (shell.propagatedNativeBuildInputs or [ ]);

  mkShell =
    arguments:
    let
      others = arguments.inputsFrom or [ ];
      named = lib.filter (it: it != null) (
        lib.flatten (map inputsOf ([ arguments ] ++ map (it: it.berthShell or it) others))
      );
      # What packages from outside are run by.
      inputs = named ++ lib.concatMap (it: it.berthNeeds or [ ]) named;
      isDebian = it: it ? berthDebian;
      view = fhsView {
        packages = lib.filter isDebian inputs;
        links = lib.unique (lib.concatMap (it: it.berthLinks or [ ]) inputs);
      };
      foreign = lib.unique (map (it: "${lib.getBin it}/bin") (lib.filter (it: !(isDebian it)) inputs));
      hooks = lib.filter (it: it != "") ((map (it: it.shellHook or "") others) ++ [ (arguments.shellHook or "") ]);

      variables = removeAttrs arguments special // (arguments.env or { });
      attributes =
        lib.filterAttrs (_: value: value != null) variables
        // {
          name = arguments.name or arguments.pname or "shell";
          system = archive.buildSystem;
          builder = archive.shell;
          args = [ builder ];
          stdenv = "${./stdenv}";
          berthFhs = view;
          berthPath = lib.concatStringsSep ":" foreign;
          berthTools = archive.tools;
          preferLocalBuild = true;
          allowSubstitutes = false;
        }
        // lib.optionalAttrs (hooks != [ ]) { shellHook = lib.concatStringsSep "\n" hooks; };
      shell = derivation attributes;
    in
    shell
    // {
      drvAttrs = attributes;
      berthShell = arguments;
      inherit view;
      meta = arguments.meta or { };
      shellHook = attributes.shellHook or "";
      nativeBuildInputs = inputs;
      buildInputs = [ ];
      overrideAttrs =
        change:
        let
          old = { packages = [ ]; shellHook = ""; } // arguments;
        in
        mkShell (arguments // (if builtins.isFunction (change old) then change old old else change old));
    }
    // (arguments.passthru or { });
in
mkShell
