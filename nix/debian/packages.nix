# pkgs.NAME: every package of the suite, and nixpkgs' names for some of them (aliases.json).
{
  archive,
  fhsView,
  suite,
  lib,
}:
let
  # A package as nixpkgs' configs expect one. `members` are the Debian packages that it stands for, the main one first.
  package =
    attribute: members:
    let
      main = archive.members.${builtins.head members}.entry;
      view = fhsView {
        name = archive.storeName "${attribute}-${main.version}";
        packages = members;
        base = false;
      };
      debian = {
        inherit suite members;
        package = builtins.head members;
        inherit (main) version component;
      };
    in
    {
      type = "derivation";
      berthDebian = true;
      name = "${attribute}-${main.version}";
      pname = attribute;
      inherit (main) version;
      inherit (archive) system;
      inherit (view) outPath drvPath;
      outputs = [ "out" ];
      outputName = "out";
      meta = {
        name = "${attribute}-${main.version}";
        mainProgram = attribute;
        position = null;
        unfree = main.component != "main";
        broken = main ? unmet;
        available = !(main ? unmet);
        platforms = [ archive.system ];
      };
      # The same again under other names, where nixpkgs' packages have several outputs.
      out = self attribute;
      dev = self attribute;
      bin = self attribute;
      lib = self attribute;
      override = _: self attribute;
      overrideAttrs = _: self attribute;
      inherit debian;
      passthru = { inherit debian; };
    };

  self = name: all.${name};

  # Each alias is a list of groups; of each group the first name that the suite has is meant. An alias with a group that
  # it has none of does not exist. A group may begin with "?" to say that it may be left out.
  aliases = builtins.fromJSON (builtins.readFile ./aliases.json);
  present = names: builtins.filter (name: archive.names ? ${name}) names;
  isOptional = group: builtins.head group == "?";
  resolve = groups: map present groups;
  exists = groups: builtins.all (group: isOptional group || present group != [ ]) groups;
  membersOf = groups: map builtins.head (builtins.filter (group: group != [ ]) (resolve groups));

  debianPackages = builtins.mapAttrs (name: _: package name [ name ]) archive.names;
  aliased = lib.mapAttrs (name: groups: package name (membersOf groups)) (lib.filterAttrs (_: exists) aliases);
  all = debianPackages // aliased;
in
all
