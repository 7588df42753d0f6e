# The package sets that a request names, each nixpkgs-shaped and loaded only when it is used.
#
# request.sources.<name> is a PreparedSource's `nix` with its `kind`:
#   nixpkgs, path: { path; config ? { }; overlays ? [ ]; }   path: a tree whose default.nix is nixpkgs-shaped
#   debian:        see debian/default.nix
{
  request,
  # Imports a file of the project: overlays may lie there.
  importFile,
  # See fetch.nix: for the inputs of a flake.
  fetchTree ? _: throw "A flake's inputs can't be fetched here.",
}:

let
  inherit (import ./errors.nix) fail;
  inherit (request) system;

  # Gives a function only the arguments that it names; one without named arguments is given all.
  callWith =
    function: arguments:
    let
      named = builtins.functionArgs function;
    in
    function (if named == { } then arguments else builtins.intersectAttrs named arguments);

  inProject =
    file: if builtins.substring 0 1 file == "/" then file else "${request.directory}/${file}";

  tree =
    source:
    {
      config ? { },
      overlays ? [ ],
      ...
    }@arguments:
    let
      isFlake = !builtins.pathExists (source.path + "/default.nix");
      value = if isFlake then ofFlake else import source.path;
      packages = import ./flake.nix {
        request = request // {
          directory = source.path;
          config = source.path + "/flake.nix";
        };
        inherit sources fetchTree;
        importFile = import;
        packages = true;
      };
      # A flake's packages take overlays where they are an extensible set, as nixpkgs' are.
      ofFlake =
        { overlays, ... }:
        builtins.foldl' (set: overlay: if set ? extend then set.extend overlay else set // overlay set set) packages overlays;
      given = arguments // {
        system = arguments.system or arguments.localSystem.system or system;
        config =
          if builtins.isAttrs config then
            (source.config or { }) // { allowUnfree = source.config.allowUnfree or request.allowUnfree; } // config
          else
            config;
        overlays = map (file: importFile (inProject file)) (source.overlays or [ ]) ++ overlays;
      };
    in
    if builtins.isFunction value then callWith value (removeAttrs given (if arguments ? localSystem then [ "system" ] else [ ])) else value;

  # What `import <nixpkgs>` gives for the source: a function of nixpkgs' own arguments.
  importers = builtins.mapAttrs (
    _: source:
    if source.kind == "debian" then
      _: import ./debian (
        removeAttrs source [ "kind" ]
        // {
          inherit system;
          allowUnfree = request.allowUnfree || source.allowUnfree or false;
        }
      )
    else
      tree source
  ) request.sources;

  needed = name: fail "SOURCE_NEEDED" { source = name; };
  default = sets.${request.defaultSource} or (needed request.defaultSource);
  # null while the default source is not locked.
  defaultKind = request.sources.${request.defaultSource}.kind or null;

  sets = builtins.mapAttrs (_: importer: importer { }) importers;
  sources = {
    inherit default importFile;
  };
in
{
  inherit sets importFile;

  # A source with arguments of nixpkgs' own.
  load = name: importers.${name};

  # Whether the request has the source.
  has = name: request.sources ? ${name};

  # A package set by its name; the daemon locks and prepares one that is missing, and asks again. The default source
  # also goes by the name of its kind.
  get =
    name:
    if request.sources ? ${name} then
      sets.${name}
    else if defaultKind == name then
      default
    else
      needed name;

  inherit default defaultKind;
  importDefault = importers.${request.defaultSource} or (needed request.defaultSource);
}
