# A flake's development shell. The inputs are those of flake.lock, each fetched by its hash; an input `nixpkgs` that is
# not locked is the project's default source. The method is that of call-flake.nix in Nix.
{
  request,
  importFile,
  sources,
  fetchTree,
  # Whether its packages are meant, not its shell.
  packages ? false,
}:

let
  inherit (import ./errors.nix) fail;
  inherit (request) system directory;

  flake = importFile request.config;

  lockFile = directory + "/flake.lock";
  lock =
    if builtins.pathExists lockFile then
      builtins.fromJSON (builtins.readFile lockFile)
    else
      {
        root = "root";
        nodes.root = { };
      };

  # An input of a node is a node's name, or a path of inputs from the root (`follows`).
  resolve = spec: if builtins.isList spec then follow lock.root spec else spec;
  follow =
    node: path:
    if path == [ ] then
      node
    else
      follow (resolve lock.nodes.${node}.inputs.${builtins.head path}) (builtins.tail path);

  # The files of the project as flakes have them: in the store, without version control's own.
  self = {
    outPath = builtins.path {
      name = "source";
      path = directory;
      filter = path: _: baseNameOf path != ".git";
    };
  };

  relative = locked: locked.type or "" == "path" && builtins.substring 0 1 locked.path != "/";

  sourceOf =
    name: node:
    if name == lock.root then
      self
    else if relative node.locked then
      let
        parent = if node ? parent then sourceInfos.${follow lock.root node.parent} else self;
      in
      parent // { outPath = parent.outPath + "/" + node.locked.path; }
    else
      fetchTree (removeAttrs node.locked [ "dir" ]);
  sourceInfos = builtins.mapAttrs sourceOf lock.nodes;

  # What an unlocked `nixpkgs` is.
  defaultSource = {
    _type = "flake";
    legacyPackages.${system} = sources.default;
    inherit (sources.default) lib;
    outPath = toString <nixpkgs>;
  };

  unlocked =
    name:
    if name == "nixpkgs" then
      defaultSource
    else
      fail "FLAKE_UNLOCKED" { inherit name; };

  call =
    name: node:
    let
      sourceInfo = sourceInfos.${name};
      isRoot = name == lock.root;
      subdirectory = node.locked.dir or "";
      outPath = sourceInfo.outPath + (if subdirectory == "" then "" else "/" + subdirectory);
      value = if isRoot then flake else import (outPath + "/flake.nix");
      locked = builtins.mapAttrs (_: spec: results.${resolve spec}) (node.inputs or { });
      named = if builtins.isFunction value.outputs then builtins.functionArgs value.outputs else { };
      wanted = removeAttrs ((value.inputs or { }) // named) [ "self" ];
      inputs = builtins.mapAttrs (input: _: locked.${input} or (unlocked input)) (wanted // locked);
      outputs = value.outputs (inputs // { self = result; });
      result =
        outputs
        // sourceInfo
        // {
          inherit
            outPath
            inputs
            outputs
            sourceInfo
            ;
          _type = "flake";
        };
    in
    if node.flake or true then result else sourceInfo // { inherit outPath; };
  results = builtins.mapAttrs call lock.nodes;

  outputs = results.${lock.root}.outputs;
in
if packages then
  outputs.legacyPackages.${system} or outputs.packages.${system} or (fail "CONFIG_TYPE" {
    key = "source";
    expected = "a flake with packages.${system} or legacyPackages.${system}";
    actual = "a flake without them";
  })
else
outputs.devShells.${system}.default or outputs.devShell.${system} or outputs.packages.${system}.default
  or outputs.defaultPackage.${system} or (fail "CONFIG_TYPE" {
    key = null;
    expected = "a flake with devShells.${system}.default";
    actual = "a flake without it";
  })
