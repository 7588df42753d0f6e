# The derivation that nix-shell enters for a config of Berth's: it has the environment as evaluate.nix makes it, and its
# set-up gives the environment's own variables. So a shell within a container is what `berth shell` is outside.
let
  request = import ../request.nix;
  evaluated = import ../evaluate.nix;
in
derivation {
  name = "berth-shell";
  inherit (request) system;
  # Entered, never built.
  builder = "/bin/sh";
  stdenv = "${./stdenv}";
  # The file of a derivation, imported, is the derivation.
  berthEnvironment = import evaluated.drvPath;
}
