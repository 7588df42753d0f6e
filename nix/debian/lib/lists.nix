# Functions over lists.
let
  inherit (builtins)
    concatLists
    concatMap
    elem
    elemAt
    filter
    foldl'
    genList
    head
    length
    sort
    ;
in
rec {
  inherit
    concatLists
    concatMap
    elem
    elemAt
    filter
    foldl'
    genList
    head
    length
    sort
    ;
  inherit (builtins)
    all
    any
    groupBy
    map
    partition
    tail
    ;
  singleton = x: [ x ];
  optional = condition: x: if condition then [ x ] else [ ];
  optionals = condition: list: if condition then list else [ ];
  toList = x: if builtins.isList x then x else [ x ];
  flatten = x: if builtins.isList x then concatMap flatten x else [ x ];
  foldr = f: initial: list: let n = length list; go = i: if i == n then initial else f (elemAt list i) (go (i + 1)); in go 0;
  foldl = foldl';
  imap0 = f: list: genList (i: f i (elemAt list i)) (length list);
  imap1 = f: list: genList (i: f (i + 1) (elemAt list i)) (length list);
  range = first: last: if first > last then [ ] else genList (i: first + i) (last - first + 1);
  last = list: elemAt list (length list - 1);
  init = list: genList (elemAt list) (length list - 1);
  take = n: list: genList (elemAt list) (if n < length list then n else length list);
  drop = n: list: let rest = length list - n; in if rest <= 0 then [ ] else genList (i: elemAt list (n + i)) rest;
  reverseList = list: let n = length list; in genList (i: elemAt list (n - 1 - i)) n;
  unique = foldl' (seen: x: if elem x seen then seen else seen ++ [ x ]) [ ];
  subtractLists = remove: filter (x: !(elem x remove));
  intersectLists = keep: filter (x: elem x keep);
  remove = x: filter (y: y != x);
  count = predicate: list: length (filter predicate list);
  findFirst = predicate: default: list: let found = filter predicate list; in if found == [ ] then default else head found;
  zipListsWith = f: a: b: genList (i: f (elemAt a i) (elemAt b i)) (if length a < length b then length a else length b);
  zipLists = zipListsWith (fst: snd: { inherit fst snd; });
  forEach = list: f: map f list;
  sortOn = f: sort (a: b: f a < f b);
  naturalSort = sort (a: b: builtins.compareVersions a b < 0);
  replicate = n: x: genList (_: x) n;
  mutuallyExclusive = a: b: !(builtins.any (x: elem x b) a);
}
