# What an environment with Nix has beside Nix itself: Berth's own Nix code, in the store, and what its sources are, so that
# `nix-shell config.nix` in the container means what `berth up` means outside.
{ request }:

let
  # The same path wherever Berth is installed, and for an evaluation that reads this copy.
  code = builtins.path {
    path = ../.;
    name = "berth-nix";
  };

  # Prepared sources name their store paths as text; by its context a path stays as long as the environment does.
  withContext =
    value:
    if builtins.isAttrs value then
      builtins.mapAttrs (_: withContext) value
    else if builtins.isList value then
      map withContext value
    else if builtins.isString value && isStorePath value then
      builtins.appendContext (builtins.unsafeDiscardStringContext value) { ${value} = { path = true; }; }
    else
      value;
  isStorePath = text: builtins.match "${builtins.storeDir}/[0-9a-z]{32}-[^/]+" text != null;

  base = builtins.toFile "berth-request.json" (
    builtins.toJSON {
      inherit (request)
        system
        defaultSource
        allowUnfree
        extraPackages
        withNix
        ;
      sources = withContext request.sources;
    }
  );

  source = request.sources.${request.defaultSource} or { kind = "debian"; };
  nixpkgs = if source.kind != "debian" && source ? path then withContext source.path else "${code}/lookup";
in
{
  # Its bin folder has the nix-shell that knows Berth's configs.
  package = "${code}/container";

  variables.NIX_PATH = builtins.concatStringsSep ":" [
    "nixpkgs=${nixpkgs}"
    "berth=${code}"
    "berth-request=${base}"
  ];
}
