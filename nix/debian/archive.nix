# The locked index of one suite, and its packages as store paths: fetched by their SHA-256, then unpacked.
{
  index,
  bootstrap,
  mirrors,
  system,
  # See default.nix.
  overrides ? { },
  # The suite's archive for the machine that builds, where these packages are for another: { bootstrap, system }.
  native ? { inherit bootstrap system; },
}:
let
  inherit (builtins) fromJSON readFile;

  # The derivations of package `name`. They depend on that package alone, so that all environments share them and a new
  # index changes only what changed in the archive.
  fetch =
    name: entry:
    derivation {
      name = "${storeName name}-${storeName entry.version}.deb";
      builder = "builtin:fetchurl";
      system = "builtin";
      url = entry.url or "${builtins.head mirrors.${entry.archive or "main"}}/${entry.file}";
      outputHash = entry.sha256;
      outputHashAlgo = "sha256";
      outputHashMode = "flat";
      executable = false;
      unpack = false;
      preferLocalBuild = true;
      impureEnvVars = [
        "http_proxy"
        "https_proxy"
        "no_proxy"
      ];
    };

  unpack =
    name: entry:
    derivation {
      name = "${storeName name}-${storeName entry.version}";
      inherit (native) system;
      builder = "${native.bootstrap}/bin/sh";
      args = [ unpackScript ];
      deb = fetch name entry;
      package = name;
      inherit architecture;
      preferLocalBuild = true;
    };

  index' = fromJSON (readFile "${index}/names.json");

  architecture = { x86_64-linux = "amd64"; aarch64-linux = "arm64"; }.${system};

  # builtins.toFile, not a path: the same store path wherever Berth is installed.
  unpackScript = builtins.toFile "unpack.sh" (readFile ./unpack.sh);

  # Store paths take letters, digits and `+-._?=` only, and must not begin with a dot.
  storeName = builtins.replaceStrings [ "~" ":" ] [ "-" "_" ];
in
rec {
  inherit system storeName;
  # Where builds run.
  buildSystem = native.system;

  # A folder with a static sh, cat, mkdir, ln and env, for builds.
  tools = "${native.bootstrap}/bin";
  shell = "${native.bootstrap}/bin/sh";
  # The same shell in the container.
  containerShell = "${bootstrap}/bin/sh";

  # All names, each with the number of its shard.
  inherit (index') names;

  # Each shard is read at most once, and only when one of its packages is needed.
  shards = builtins.genList (number: fromJSON (readFile "${index}/shards/${toString number}.json")) index'.shards;

  # The index's entry of a name, as package-index.ts writes it.
  entry = name: (builtins.elemAt shards names.${name}).${name};

  # Every package once: { name, entry, unpacked }. Nothing of it is read before it is asked for.
  members = builtins.mapAttrs (
    name: _:
    let
      it = entry name // (overrides.${name} or { });
    in
    {
      inherit name;
      entry = it;
      unpacked = unpack name it;
    }
  ) names;

  # Debian's names for the system.
  inherit architecture;
  triplet = { x86_64-linux = "x86_64-linux-gnu"; aarch64-linux = "aarch64-linux-gnu"; }.${system};
  # As programs name it.
  loaderPath = { x86_64-linux = "/lib64/ld-linux-x86-64.so.2"; aarch64-linux = "/lib/ld-linux-aarch64.so.1"; }.${system};
  loader = { x86_64-linux = "ld-linux-x86-64.so.2"; aarch64-linux = "ld-linux-aarch64.so.1"; }.${system};
}
