# Packages from outside of the sources: of registries of languages, and by an address. What they are is in the lock
# (src/libraries/registries): files with addresses and hashes, which Nix fetches and checks, or a store path that was built.
# They are put together by the shell of the default source.
{ request, sources }:

let
  pkgs = sources.default;
  isDebian = sources.defaultKind == "debian";
  sanitise = builtins.replaceStrings [ "@" "/" "~" ":" " " "%" "+" "!" ] [ "" "-" "-" "-" "-" "-" "-" "-" ];

  fetch =
    name: file:
    derivation {
      name = sanitise name;
      builder = "builtin:fetchurl";
      system = "builtin";
      inherit (file) url;
      outputHash = file.hash;
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

  # An interpreter: a package that the environment then has, where /usr leads to it; else by its own path.
  interpreter =
    package: program:
    if isDebian then
      {
        path = "/usr/bin/${program}";
        needs = [ package ];
      }
    else
      {
        path = "${package}/bin/${program}";
        needs = [ ];
      };

  package =
    entry: needs: script: attributes:
    let
      name = sanitise (baseNameOf entry.name);
    in
    pkgs.runCommand "${name}-${sanitise entry.version}" (
      {
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      // attributes
    ) script
    // {
      pname = entry.name;
      inherit (entry) version;
      berthSource = entry.origin;
      berthNeeds = needs;
    };

  shell = if isDebian then pkgs.debian.archive.containerShell else "${pkgs.runtimeShell}";

  npm =
    entry:
    let
      node = interpreter (pkgs.nodejs-slim or pkgs.nodejs) "node";
      file = it: "${it.path} ${fetch (baseNameOf it.path) it}\n";
      program = name: "${name} ${entry.pin.programs.${name}}\n";
    in
    package entry node.needs
      ''
        mkdir -p $out/lib $out/bin
        while read -r path archive; do
          mkdir -p "$out/lib/$path"
          tar -xzf "$archive" -o -C "$out/lib/$path" --strip-components=1 || exit 1
        done < "$filesPath"
        chmod -R u+rwX,go+rX "$out/lib"
        while read -r name file; do
          target="$out/lib/node_modules/$package/$file"
          case $(head -n 1 "$target") in
            '#!'*node*) command="$node '$target'" ;;
            *) chmod +x "$target"; command="'$target'" ;;
          esac
          printf '#!%s\nexec %s "$@"\n' "$programShell" "$command" > "$out/bin/$name"
          chmod +x "$out/bin/$name"
        done < "$programsPath"
      ''
      {
        files = builtins.concatStringsSep "" (map file entry.pin.files);
        programs = builtins.concatStringsSep "" (map program (builtins.attrNames entry.pin.programs));
        passAsFile = [
          "files"
          "programs"
        ];
        package = entry.name;
        node = node.path;
        programShell = shell;
      };

  pypi =
    entry:
    let
      python = interpreter pkgs.python3 "python3";
      file = it: "${if it.main then "1" else "0"} ${fetch (baseNameOf it.url) it}\n";
    in
    package entry python.needs
      ''
        site=$out/lib/python
        mkdir -p $site $out/bin
        while read -r main wheel; do
          rm -rf new; mkdir new
          unzip -q -o "$wheel" -d new || exit 1
          for data in new/*.data; do
            [ -d "$data" ] || continue
            for library in "$data"/purelib "$data"/platlib; do if [ -d "$library" ]; then cp -r "$library"/. new/; fi; done
            if [ -d "$data/data" ]; then cp -r "$data/data"/. $out/; fi
            if [ -d "$data/scripts" ] && [ "$main" = 1 ]; then
              for script in "$data/scripts"/*; do
                target="$out/bin/''${script##*/}"
                case $(head -c 8 "$script" | tr -d '\0') in
                  '#!python'*) { printf '#!%s\nimport sys; sys.path.insert(0, "%s")\n' "$python" "$site"; tail -n +2 "$script"; } > "$target" ;;
                  *) cp "$script" "$target" ;;
                esac
                chmod +x "$target"
              done
            fi
            rm -rf "$data"
          done
          # Console scripts (the entry points specification): NAME = MODULE:OBJECT
          if [ "$main" = 1 ]; then
            for points in new/*.dist-info/entry_points.txt; do
              [ -f "$points" ] || continue
              sed -n '/^\[console_scripts\]/,/^\[\(gui\|[^c]\)/p' "$points" | sed -n 's/ //g; s/\[.*\]$//; s/^\([^=#[]*\)=\([^:]*\):\(.*\)$/\1 \2 \3/p' |
                while read -r name module object; do
                  {
                    printf '#!%s\nimport sys\nsys.path.insert(0, "%s")\n' "$python" "$site"
                    printf 'from %s import %s as main\nsys.exit(main())\n' "$module" "''${object%%.*}"
                  } > "$out/bin/$name"
                  if [ "''${object#*.}" != "$object" ]; then
                    sed -i "s/sys.exit(main())/sys.exit(main.''${object#*.}())/" "$out/bin/$name"
                  fi
                  chmod +x "$out/bin/$name"
                done
            done
          fi
          cp -r new/. $site/
        done < "$filesPath"
        [ -n "$(ls $out/bin)" ] || { echo "$package has no programs: it is a library" >&2; exit 1; }
      ''
      {
        files = builtins.concatStringsSep "" (map file entry.pin.files);
        passAsFile = [ "files" ];
        package = entry.name;
        python = python.path;
      };

  # A program or an archive of programs, by its address.
  url =
    entry:
    package entry [ ]
      ''
        mkdir -p $out/bin
        case $address in
          *.tar.gz | *.tgz) mkdir $out/lib; tar -xzf "$file" -o -C $out/lib ;;
          *.tar.xz) mkdir $out/lib; tar -xJf "$file" -o -C $out/lib ;;
          *.tar) mkdir $out/lib; tar -xf "$file" -o -C $out/lib ;;
          *.zip) mkdir $out/lib; unzip -q "$file" -d $out/lib ;;
          *.gz) gunzip -c "$file" > "$out/bin/$package" ;;
          *) cp "$file" "$out/bin/$package" ;;
        esac
        if [ -d $out/lib ]; then
          # The program of the package's name, else every program.
          found=$(find $out/lib -type f -name "$package")
          [ -n "$found" ] || found=$(find $out/lib -type f -perm -u+x ! -name '*.so*')
          [ -n "$found" ] || { echo "$address has no programs" >&2; exit 1; }
          echo "$found" | while read -r it; do chmod +x "$it"; ln -s "$it" "$out/bin/''${it##*/}"; done
        else
          chmod +x "$out/bin/$package"
        fi
      ''
      {
        file = fetch "file" entry.pin;
        address = entry.pin.url;
        package = entry.name;
      };

  # What was built by the registry's client.
  built =
    entry:
    let
      path = builtins.appendContext (builtins.unsafeDiscardStringContext entry.pin.path) { ${entry.pin.path} = { path = true; }; };
    in
    package entry [ ] ''
      mkdir -p $out
      ln -s "$path/bin" $out/bin
    '' { inherit path; };
in
{
  # A package as the lock has it.
  make =
    entry:
    {
      inherit npm pypi url;
      crate = built;
      goModule = built;
    }
    .${entry.kind}
      entry;

  # A package of a source of which another version is taken: another .deb, or other sources that are built in its way.
  override =
    package:
    {
      version,
      url,
      hash,
    }@file:
    (
      if package ? berthDebian then
        pkgs.debian.override package file
      else
        package.overrideAttrs (_: {
          inherit version;
          name = "${package.pname}-${version}";
          src = fetch (baseNameOf url) file;
        })
    )
    // {
      berthSource = "override";
    };
}
