# The Debian archive as a nixpkgs-shaped package set.
#
#   import ./. { index, bootstrap, mirrors, system, suite, allowUnfree ? false }
#
# The arguments are what src/sources/debian/source.ts prepares: `index` and `bootstrap` are store paths (text),
# `mirrors` is { main = [ url ]; security = [ url ]; }. Nothing else is read; no network is used while evaluating.
#
# What the rest of Berth relies on:
#
# - `pkgs.NAME`, Debian's names and those of aliases.json: an attribute set with type = "derivation", name, pname,
#   version, meta, outPath, drvPath, `berthDebian = true`, and
#       passthru.debian = { suite; package; version; component; members }   (members: the Debian names it stands for).
#   Its outPath is a small FHS prefix of the package with its dependencies, so that "${pkgs.python3}/bin/python3" is a
#   working file (where /lib64 has a loader, as in every container of such an environment). It is built only when the
#   text of the path is used.
# - `pkgs.fhsView { packages; name ? …; base ? true; }`: a derivation, the merged view of the packages' closure: usr/,
#   etc/ and links bin, sbin, lib, lib64. /usr of the container leads to it. Its run-time closure holds every package.
# - `pkgs.beside { package; wanted; }`: the package for an environment whose /usr is another suite's: no part of the view;
#   its `bin` holds its programs, also as NAME@WANTED, and those alone in its attribute `named`.
# - `pkgs.mkShell { packages, nativeBuildInputs, buildInputs, inputsFrom, shellHook, env, name, … }`: a derivation with
#   `drvAttrs`. Environment variables of its builder that matter:
#       stdenv     a store path whose `setup` (POSIX sh and bash) exports PATH and what the packages need; it reads
#                  berthFhs and berthPath only, and works in the sandbox as well as in the container
#       berthFhs   store path of the view; the environment's FHS. In the container, /run/berth/fhs leads to it, and PATH is /usr/bin:…
#       berthPath  bin folders of packages that are not Debian's, colon-separated; may be empty
#       shellHook
#       berthTools the bootstrap's bin folder: sh, cat, mkdir, ln, env
#   Its builder is the bootstrap's `sh`, a static busybox, so that environment.nix can run another script in its place:
#   `derivation (shell.drvAttrs // { args = [ script ]; })`. All of busybox's applets work in it with any PATH, since
#   it looks at its applets before PATH. `shell.overrideAttrs (old: { packages = old.packages ++ [ … ]; })` adds.
# - What a user can do wrong is thrown by ../errors.nix: UNFREE_PACKAGE { name; component; }, BROKEN_PACKAGE { name;
#   dependency; }, PACKAGES_CONFLICT { name; other; }. Unknown names are Nix's own "attribute 'x' missing".
{
  index,
  bootstrap,
  mirrors,
  system,
  suite ? "debian",
  allowUnfree ? false,
  # The same suite for this machine, where the packages are for another system: { index, bootstrap, system }.
  native ? null,
  # Packages that come from elsewhere, by Debian's names: { version, url, sha256 }.
  overrides ? { },
  ...
}@arguments:
let
  lib = import ./lib;
  # A store path that comes as text (from the lock) becomes an input of derivations by its context.
  storePath =
    path: builtins.appendContext (builtins.unsafeDiscardStringContext path) { ${path} = { path = true; }; };

  archive = import ./archive.nix (
    {
      inherit mirrors system overrides;
      index = storePath index;
      bootstrap = storePath bootstrap;
    }
    // (
      if native == null then
        { }
      else
        {
          native = {
            inherit (native) system;
            bootstrap = storePath native.bootstrap;
          };
        }
    )
  );
  closure = import ./closure.nix { inherit archive allowUnfree; };
  # Programs that builds run come from here.
  builds =
    if native == null then
      { inherit archive closure; }
    else
      rec {
        archive = import ./archive.nix {
          inherit mirrors;
          inherit (native) system;
          index = storePath native.index;
          bootstrap = storePath native.bootstrap;
        };
        closure = import ./closure.nix { inherit archive allowUnfree; };
      };
  fhsView = import ./view.nix { inherit archive closure builds lib; };
  packages = import ./packages.nix {
    inherit
      archive
      fhsView
      suite
      lib
      ;
  };
  beside = import ./beside.nix {
    inherit
      archive
      closure
      builds
      suite
      lib
      ;
  };
  builders = import ./builders.nix { inherit archive lib; };
  mkShell = import ./mk-shell.nix { inherit archive fhsView lib; };
  stdenv = import ./stdenv.nix { inherit archive lib system; };

  own = builders // {
    inherit
      lib
      beside
      fhsView
      mkShell
      stdenv
      system
      ;
    mkShellNoCC = mkShell;
    stdenvNoCC = stdenv;
    inherit (stdenv) hostPlatform buildPlatform targetPlatform;
    pkgs = set;
    config = { inherit allowUnfree; };
    # For Berth itself and for tests; no part of the nixpkgs shape.
    debian = {
      inherit suite archive closure;
      # A package of which another .deb is taken: beside the view, with what it needs from this suite.
      override =
        package:
        { version, url, hash }:
        let
          changed = import ./. (
            arguments
            // {
              overrides.${package.debian.package} = {
                inherit version url;
                sha256 = hash;
              };
            }
          );
        in
        changed.beside {
          package = changed.${package.pname};
          wanted = version;
        };
    };
  };
  set = packages // own;
in
set
