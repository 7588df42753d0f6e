# Functions over attribute sets.
{ lists }:
let
  inherit (builtins)
    attrNames
    attrValues
    isAttrs
    listToAttrs
    mapAttrs
    ;
in
rec {
  inherit
    attrNames
    attrValues
    listToAttrs
    mapAttrs
    ;
  inherit (builtins)
    catAttrs
    getAttr
    hasAttr
    intersectAttrs
    removeAttrs
    zipAttrsWith
    ;
  nameValuePair = name: value: { inherit name value; };
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  attrsToList = mapAttrsToList nameValuePair;
  filterAttrs = predicate: set: removeAttrs set (lists.filter (name: !(predicate name set.${name})) (attrNames set));
  concatMapAttrs = f: set: lists.foldl' (all: name: all // f name set.${name}) { } (attrNames set);
  foldlAttrs = f: initial: set: lists.foldl' (all: name: f all name set.${name}) initial (attrNames set);
  optionalAttrs = condition: set: if condition then set else { };
  mergeAttrsList = lists.foldl' (a: b: a // b) { };
  attrByPath =
    path: default: set:
    if path == [ ] then
      set
    else if isAttrs set && set ? ${lists.head path} then
      attrByPath (builtins.tail path) default set.${lists.head path}
    else
      default;
  hasAttrByPath =
    path: set:
    path == [ ] || (isAttrs set && set ? ${lists.head path} && hasAttrByPath (builtins.tail path) set.${lists.head path});
  getAttrFromPath = path: attrByPath path (throw "The set has no attribute ${builtins.concatStringsSep "." path}.");
  attrVals = names: set: map (name: set.${name}) names;
  recursiveUpdate =
    a: b:
    a
    // mapAttrs (name: value: if isAttrs value && isAttrs (a.${name} or null) then recursiveUpdate a.${name} value else value) b;
  isDerivation = value: isAttrs value && (value.type or null) == "derivation";
  recurseIntoAttrs = set: set // { recurseForDerivations = true; };
}
