# The evaluator's entry: reads the request, loads the config, whatever its shape, and says what it means, as
# src/nix/evaluated-config.ts has it. Each problem is a code of src/core/errors.ts with the place in the config.
let
  request = import ./request.nix;

  inherit (import ./errors.nix) fail failAt;
  inherit (import ./load.nix { inherit request; }) importFile sources fetchTree;

  pinned = import ./pinned.nix { inherit request sources; };

  isDerivation = value: builtins.isAttrs value && value.type or null == "derivation";
  nameOf = package: package.pname or (builtins.parseDrvName package.name).name;
  versionOf = package: package.version or (builtins.parseDrvName package.name).version;
  # Only Berth's source debian marks its packages.
  isDebian = package: package ? berthDebian;
  defaultIsDebian = sources.defaultKind == "debian";
  debian = sources.get "debian";
  sourceOf =
    package:
    if package ? berthSource then
      package.berthSource
    else if isDebian package then
      "debian"
    else if sources.defaultKind == null || defaultIsDebian then
      "nixpkgs"
    else
      sources.defaultKind;

  /*
    Packages that the command adds, by their names: `git`, `python3Packages.pip`, or `debian.git` for a source other
    than the default one.
  */
  packageNamed =
    name:
    let
      parts = builtins.filter builtins.isString (builtins.split "\\." name);
      head = builtins.head parts;
      other = builtins.length parts > 1 && sources.has head;
      walk =
        set: rest:
        if rest == [ ] then
          set
        else if builtins.isAttrs set && set ? ${builtins.head rest} then
          walk set.${builtins.head rest} (builtins.tail rest)
        else
          fail "UNKNOWN_PACKAGE" { inherit name; };
      found = if other then walk (sources.get head) (builtins.tail parts) else walk sources.default parts;
    in
    if isDerivation found then found else fail "UNKNOWN_PACKAGE" { inherit name; };

  extraPackages = map packageNamed request.extraPackages;

  # The arguments that a config can ask for. One that it gives a default for keeps that default, as in nix-shell, but
  # for those that only Berth has.
  known = {
    pkgs = sources.default;
    lib = sources.default.lib;
    inherit (request) system;
    inherit (pinned)
      at
      npm
      pypi
      crate
      goModule
      url
      override
      source
      ;
  }
  // builtins.listToAttrs (
    map (name: {
      inherit name;
      value = sources.get name;
    }) ([ "debian" "nixpkgs" ] ++ builtins.attrNames request.sources)
  );

  onlyBerths = [
    "at"
    "npm"
    "pypi"
    "crate"
    "goModule"
    "url"
    "override"
    "source"
  ];

  call =
    function:
    let
      wanted = builtins.functionArgs function;
      given = builtins.filter (
        name: !wanted.${name} || builtins.elem name onlyBerths || (name == "debian" && sources.has name)
      ) (builtins.attrNames wanted);
    in
    # `pkgs: …` can't be told from `{ ... }: …`; the former is what people write to mean the package set.
    if wanted == { } then
      function sources.default
    else
      function (
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value =
              known.${name} or (failAt "UNKNOWN_KEY" (builtins.unsafeGetAttrPos name wanted) {
                key = name;
                what = "argument";
                valid = builtins.attrNames known;
              });
          }) given
        )
      );

  resolve =
    value:
    if
      builtins.isFunction value || (builtins.isAttrs value && value ? __functor && !isDerivation value)
    then
      resolve (call value)
    else
      value;

  describe =
    value:
    if value == null then
      "null"
    else if isDerivation value then
      "a package"
    else
      {
        bool = "true or false";
        int = "a number";
        float = "a number";
        string = "text";
        path = "a path";
        set = "a set";
        list = "a list";
        lambda = "a function";
      }
      .${builtins.typeOf value};

  # --- Berth's own shape and Replit's ---

  berthKeys = [
    "packages"
    "env"
    "shellHook"
    "command"
    "ports"
    "libraries"
  ];
  replitKeys = [
    "deps"
    "env"
  ];

  fromAttributes =
    config:
    let
      valid = if config ? deps && !(config ? packages) then replitKeys else berthKeys;
      wrong =
        key: expected: value:
        failAt "CONFIG_TYPE" (builtins.unsafeGetAttrPos key config) {
          inherit key expected;
          actual = describe value;
        };
      listOf =
        key: expected: good: convert:
        let
          value = config.${key};
          element = index: value: if good value then convert value else wrong key "${expected}, and element ${toString (index + 1)} is not" value;
        in
        if !(config ? ${key}) then
          [ ]
        else if !builtins.isList value then
          wrong key expected value
        else
          builtins.genList (index: element index (builtins.elemAt value index)) (builtins.length value);

      unknown = builtins.filter (key: !builtins.elem key valid) (builtins.attrNames config);

      # The order of packages means nothing here, so it must not change the environment.
      packages = builtins.sort (a: b: if a.name != b.name then a.name < b.name else a.drvPath < b.drvPath) (
        pinned.settle (
          listOf (if config ? deps then "deps" else "packages") "a list of packages" isDerivation (package: package)
        )
        ++ extraPackages
      );

      variable =
        name: value:
        let
          position = builtins.unsafeGetAttrPos name config.env;
          text = [
            "string"
            "int"
            "float"
            "path"
          ];
        in
        if builtins.match "[A-Za-z_][A-Za-z0-9_]*" name == null then
          failAt "CONFIG_TYPE" position {
            key = "env";
            expected = "a set whose keys are names of variables";
            actual = "the name ${builtins.toJSON name}";
          }
        else if isDerivation value || builtins.elem (builtins.typeOf value) text then
          "${if builtins.isPath value then value else toString value}"
        else if builtins.isBool value then
          (if value then "1" else "")
        else
          failAt "CONFIG_TYPE" position {
            key = "env.${name}";
            expected = "text, a number, a path, a package, true or false";
            actual = describe value;
          };
      variables =
        let
          env = config.env or { };
        in
        if builtins.isAttrs env && !isDerivation env then
          builtins.mapAttrs variable env
        else
          wrong "env" "a set of variables" env;

      shellHook =
        let
          hook = config.shellHook or "";
        in
        if builtins.isString hook then hook else wrong "shellHook" "text" hook;

      commandValue = config.command or null;
      command =
        if commandValue == null then
          null
        else if commandValue == [ ] then
          wrong "command" "a list of text and paths with at least the program" commandValue
        else
          listOf "command" "a list of text and paths" (value: builtins.isString value || builtins.isPath value) (
            value: "${value}"
          );

      ports = listOf "ports" "a list of port numbers from 1 to 65535" (
        port: builtins.isInt port && port >= 1 && port <= 65535
      ) (port: port);

      libraries =
        let
          value = config.libraries or { };
          absolute =
            name: file:
            if builtins.isPath file then
              toString file
            else if builtins.isString file && file != "" then
              (if builtins.substring 0 1 file == "/" then file else "${request.directory}/${file}")
            else
              failAt "CONFIG_TYPE" (builtins.unsafeGetAttrPos name value) {
                key = "libraries.${name}";
                expected = "the path of a lock file";
                actual = describe file;
              };
        in
        if value == "auto" then
          { auto = request.directory; }
        else if builtins.isAttrs value then
          builtins.mapAttrs absolute value
        else
          wrong "libraries" "a set of lock files, or \"auto\"" value;

      debianPackages = builtins.filter isDebian packages;
      otherPackages = builtins.filter (package: !isDebian package) packages;
      # Debian's shell takes packages of other sources too, but only nixpkgs' own runs their setup hooks.
      mixed = debianPackages != [ ] && otherPackages != [ ] && !defaultIsDebian;
      base = if debianPackages != [ ] && !mixed then debian else sources.default;
    in
    if unknown != [ ] then
      failAt "UNKNOWN_KEY" (builtins.unsafeGetAttrPos (builtins.head unknown) config) {
        key = builtins.head unknown;
        what = "key";
        inherit valid;
      }
    else
      {
        inherit
          packages
          command
          ports
          libraries
          variables
          ;
        derivation = base.mkShell (
          { packages = if mixed then otherPackages else packages; }
          // (if shellHook == "" then { } else { inherit shellHook; })
        );
        fhs = if mixed then debian.fhsView { packages = debianPackages; } else null;
        pathSuffix = if mixed then "/usr/bin:/bin" else "";
        extra = [ ];
      };

  # --- mkShell, a flake's shell, or any other derivation ---

  fromDerivation =
    derivation:
    let
      packages =
        builtins.filter isDerivation (
          (derivation.nativeBuildInputs or [ ])
          ++ (derivation.buildInputs or [ ])
          ++ (derivation.propagatedNativeBuildInputs or [ ])
          ++ (derivation.propagatedBuildInputs or [ ])
        )
        ++ extraPackages;
      extraDebian = builtins.filter isDebian extraPackages;
      hasView = derivation.drvAttrs ? berthFhs;
    in
    {
      inherit derivation packages;
      variables = { };
      command = null;
      ports = [ ];
      libraries = { };
      fhs = if extraDebian == [ ] then null else debian.fhsView { packages = builtins.filter isDebian packages; };
      pathSuffix = if extraDebian != [ ] && !hasView then "/usr/bin:/bin" else "";
      extra = builtins.filter (package: !isDebian package) extraPackages;
    };

  value =
    if request.shape == "flake" then
      import ./flake.nix {
        inherit
          request
          importFile
          sources
          fetchTree
          ;
      }
    else
      resolve (importFile request.config);

  meaning =
    if isDerivation value then
      fromDerivation value
    else if builtins.isAttrs value then
      fromAttributes value
    else
      fail "CONFIG_TYPE" {
        key = null;
        expected = "a set with `packages`, or what `pkgs.mkShell` gives";
        actual = describe value;
      };

  # For an environment with Nix.
  container = import ./container { inherit request; };
  withNix = request.withNix or false;

  environment = import ./environment.nix {
    inherit (meaning)
      derivation
      command
      fhs
      pathSuffix
      ;
    variables =
      # Built on this machine, yet for another.
      (
        if (meaning.derivation.drvAttrs.system or request.system) == request.system then
          { }
        else
          { inherit (request) system; }
      )
      // (if withNix then container.variables else { })
      // meaning.variables;
    extraPackages = meaning.extra;
    firstPackages = if withNix then [ container.package ] else [ ];
    tools = sources.default.coreutils or sources.default.busybox or null;
  };
in
{
  inherit (environment) drvPath;
  packages = map (package: {
    name = nameOf package;
    version = versionOf package;
    source = sourceOf package;
  }) meaning.packages;
  shellHook = meaning.derivation.shellHook or "";
  inherit (meaning) command ports libraries;
}
