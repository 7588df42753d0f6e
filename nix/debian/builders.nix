# The small builders of nixpkgs that configs use, done by the bootstrap's busybox.
{ archive, lib }:
let
  # Runs a script of POSIX sh with busybox's applets; `$out` is to be made by it.
  runCommand =
    name: env: script:
    let
      attributes =
        removeAttrs env [
          "passthru"
          "meta"
        ]
        // {
          inherit name script;
          system = archive.buildSystem;
          builder = archive.shell;
          args = [ (builtins.toFile "run-command.sh" ". \"$scriptPath\"\n") ];
          passAsFile = [ "script" ] ++ (env.passAsFile or [ ]);
        };
    in
    derivation attributes
    // {
      drvAttrs = attributes;
      meta = env.meta or { };
      passthru = env.passthru or { };
    }
    // (env.passthru or { });

  shebang = "#!/bin/bash\n";

  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
      meta ? { },
      ...
    }:
    runCommand name
      {
        inherit text destination meta;
        passAsFile = [ "text" ];
        mode = if executable then "755" else "644";
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      ''
        target=$out$destination
        mkdir -p "$(dirname "$target")"
        cp "$textPath" "$target"
        chmod "$mode" "$target"
      '';

  bin =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
      destination = "/bin/${name}";
      meta.mainProgram = name;
    };

  # Links the files of several paths into one folder; where two have the same file, the first one's is taken.
  buildEnv =
    {
      name,
      paths,
      pathsToLink ? [ "/" ],
      postBuild ? "",
      passthru ? { },
      meta ? { },
      ...
    }:
    runCommand name
      {
        inherit passthru meta;
        paths = map (it: "${it}") paths;
        links = pathsToLink;
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      ''
        mkdir -p "$out"
        merge() { # source target
          for entry in "$1"/* "$1"/.[!.]*; do
            [ -e "$entry" ] || [ -L "$entry" ] || continue
            there=$2/''${entry##*/}
            if [ -d "$entry" ] && { [ -d "$there" ] || ! [ -e "$there" ]; }; then
              mkdir -p "$there"
              (merge "$entry" "$there")
            elif ! [ -e "$there" ] && ! [ -L "$there" ]; then
              ln -s "$entry" "$there"
            fi
          done
        }
        for path in $paths; do
          for link in $links; do
            [ -d "$path$link" ] || continue
            mkdir -p "$out$link"
            merge "$path''${link%/}" "$out''${link%/}"
          done
        done
        ${postBuild}
      '';
in
{
  inherit runCommand writeTextFile buildEnv;
  runCommandLocal =
    name: env:
    runCommand name (
      {
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      // env
    );
  runCommandCC = throw "The source `debian` compiles nothing while building: runCommandCC needs the source `nixpkgs`.";
  writeText = name: text: writeTextFile { inherit name text; };
  writeTextDir =
    path: text:
    writeTextFile {
      name = baseNameOf path;
      inherit text;
      destination = "/${path}";
    };
  writeScript =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
    };
  writeScriptBin = bin;
  writeShellScript =
    name: text:
    writeTextFile {
      inherit name;
      text = shebang + text;
      executable = true;
    };
  writeShellScriptBin = name: text: bin name (shebang + text);
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
      runtimeEnv ? { },
      ...
    }:
    bin name (
      shebang
      + "set -o errexit -o nounset -o pipefail\n"
      + lib.concatStrings (lib.mapAttrsToList (key: value: "export ${key}=${lib.escapeShellArg value}\n") runtimeEnv)
      + lib.optionalString (runtimeInputs != [ ]) "export PATH=\"${lib.makeBinPath runtimeInputs}:$PATH\"\n"
      + text
    );
  symlinkJoin = { paths, ... }@arguments: buildEnv arguments;
  linkFarm =
    name: entries:
    let
      list = if builtins.isAttrs entries then lib.mapAttrsToList (key: path: { name = key; inherit path; }) entries else entries;
    in
    runCommand name { preferLocalBuild = true; } (
      "mkdir -p $out\n"
      + lib.concatMapStrings (it: ''
        mkdir -p "$out/$(dirname ${lib.escapeShellArg it.name})"
        ln -s ${lib.escapeShellArg "${it.path}"} "$out/"${lib.escapeShellArg it.name}
      '') list
    );
  runtimeShell = "/bin/bash";
}
