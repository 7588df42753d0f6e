# Functions over text.
{ lists }:
let
  inherit (builtins)
    concatStringsSep
    match
    replaceStrings
    stringLength
    substring
    ;
  lower = lists.filter (x: builtins.isString x && x != "") (builtins.split "" "abcdefghijklmnopqrstuvwxyz");
  upper = lists.filter (x: builtins.isString x && x != "") (builtins.split "" "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
in
rec {
  inherit
    concatStringsSep
    match
    replaceStrings
    stringLength
    substring
    ;
  inherit (builtins) baseNameOf dirOf split unsafeDiscardStringContext;
  concatStrings = concatStringsSep "";
  concatMapStrings = f: list: concatStrings (map f list);
  concatMapStringsSep = separator: f: list: concatStringsSep separator (map f list);
  concatImapStringsSep = separator: f: list: concatStringsSep separator (lists.imap1 f list);
  concatLines = lists.foldl' (text: line: text + line + "\n") "";
  optionalString = condition: text: if condition then text else "";
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    let
      at = stringLength text - stringLength suffix;
    in
    at >= 0 && substring at (stringLength suffix) text == suffix;
  hasInfix = infix: text: builtins.length (builtins.split (escapeRegex infix) text) > 1;
  removePrefix =
    prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (stringLength text) text else text;
  removeSuffix =
    suffix: text: if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
  splitString = separator: text: lists.filter builtins.isString (builtins.split (escapeRegex separator) text);
  stringToCharacters = text: lists.genList (i: substring i 1 text) (stringLength text);
  escape = list: replaceStrings list (map (c: "\\${c}") list);
  escapeRegex = escape (stringToCharacters "\\[{()^$?*+|.");
  escapeShellArg = text: "'${replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  toLower = replaceStrings upper lower;
  toUpper = replaceStrings lower upper;
  trim = text: let found = match "[ \t\r\n]*(.*[^ \t\r\n])[ \t\r\n]*" text; in if found == null then "" else lists.head found;
  fileContents = file: removeSuffix "\n" (builtins.readFile file);
  makeSearchPath = folder: packages: concatMapStringsSep ":" (p: "${p}/${folder}") (lists.filter (p: p != null) packages);
  makeBinPath = makeSearchPath "bin";
  makeLibraryPath = makeSearchPath "lib";
  makeIncludePath = makeSearchPath "include";
  toInt = text: let value = builtins.fromJSON text; in if builtins.isInt value then value else throw "${text} is no integer";
  toShellVar = name: value: "${name}=${escapeShellArg value}";
  fixedWidthString =
    width: filler: text:
    let
      missing = width - stringLength text;
    in
    concatStrings (lists.genList (_: filler) (if missing > 0 then missing else 0)) + text;
  isStorePath = x: hasPrefix "/nix/store/" (toString x) && dirOf (toString x) == "/nix/store";
}
