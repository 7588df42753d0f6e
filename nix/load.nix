# Imports files of the project in a scope of Berth's: variables are given by the request and reported, and
# `import <nixpkgs>` is the locked default source with its settings.
{ request }:

let
  prefix = request.directory + "/";
  inProject = text: builtins.substring 0 (builtins.stringLength prefix) text == prefix || text == request.directory;

  # Reports each variable that is asked for (src/nix/evaluate.ts reads it from the trace lines), then gives its value.
  getEnv =
    name:
    # A container's own evaluation has the container's variables.
    if request.inside or false then
      builtins.getEnv name
    else
      builtins.trace "berth-variable:${builtins.toJSON name}" (request.passedVariables.${name} or "");

  lookup = toString <nixpkgs>;

  importFile =
    path:
    let
      text = toString path;
    in
    if text == lookup then
      sources.importDefault
    else if inProject text then
      builtins.scopedImport scope path
    else
      import path;

  fetchers = import ./fetch.nix { inherit request; };

  overrides = fetchers // {
    inherit getEnv;
    import = importFile;
  };

  scope = {
    import = importFile;
    __getEnv = getEnv;
    inherit (fetchers) fetchGit fetchTarball fetchTree;
    __fetchurl = fetchers.fetchurl;
    builtins = builtins // overrides // { builtins = builtins // overrides; };
  };

  sources = import ./sources.nix {
    inherit request importFile;
    inherit (fetchers) fetchTree;
  };
in
{
  inherit importFile sources;
  inherit (fetchers) fetchTree;
}
