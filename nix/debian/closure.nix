# Closures by Debian's dependency rules. Candidates of each dependency were worked out when the index was made; here one
# of them is picked: a package that the config names, else the first one that can be used.
{ archive, allowUnfree }:
let
  inherit (builtins) filter head tail;
  inherit (import ../errors.nix) fail;

  # Packages that only maintainer scripts use, which Berth never runs as they are.
  scriptsOnly = import ./scripts-only.nix;

  isFree = entry: entry.component == "main";
  usable = name: let it = archive.members.${name}.entry; in !(it ? unmet) && (allowUnfree || isFree it);

  pick =
    explicit: group:
    if tail group == [ ] then
      head group
    else
      let
        named = filter (name: explicit ? ${name}) group;
        good = filter usable group;
      in
      if named != [ ] then
        head named
      else if good != [ ] then
        head good
      else
        head group;

  check =
    name: entry:
    if !allowUnfree && !isFree entry then
      fail "UNFREE_PACKAGE" {
        inherit name;
        inherit (entry) component;
      }
    else if entry ? unmet then
      fail "BROKEN_PACKAGE" {
        inherit name;
        dependency = head entry.unmet;
      }
    else
      true;
in
# names: the packages that are asked for. Returns all members, sorted by name: [ { name, entry, unpacked } ].
names:
let
  explicit = builtins.listToAttrs (map (name: { inherit name; value = true; }) names);
  item = name: {
    key = name;
    entry = archive.members.${name}.entry;
  };
  needsOf =
    item:
    assert check item.key item.entry;
    filter (name: !(scriptsOnly ? ${name}) || explicit ? ${name}) (map (pick explicit) (item.entry.needs or [ ]));
  items = builtins.genericClosure {
    startSet = map item (builtins.attrNames explicit);
    operator = it: map item (needsOf it);
  };
  chosen = builtins.listToAttrs (map (it: { name = it.key; value = it.entry; }) items);
  conflicts = builtins.concatMap (
    it:
    map (other: {
      name = it.key;
      inherit other;
    }) (filter (other: chosen ? ${other}) (it.entry.conflicts or [ ]))
  ) items;
in
if conflicts != [ ] then
  fail "PACKAGES_CONFLICT" (head conflicts)
else
  map (name: archive.members.${name}) (builtins.attrNames chosen)
