# Functions of no particular type.
{
  id = x: x;
  const = x: _: x;
  flip = f: a: b: f b a;
  pipe = builtins.foldl' (x: f: f x);
  fix = f: let x = f x; in x;
  warn = message: value: builtins.trace "warning: ${message}" value;
  warnIf = condition: message: value: if condition then builtins.trace "warning: ${message}" value else value;
  throwIf = condition: message: value: if condition then throw message else value;
  throwIfNot = condition: message: value: if condition then value else throw message;
  assertMsg = condition: message: condition || throw message;
  boolToString = value: if value then "true" else "false";
  importJSON = path: builtins.fromJSON (builtins.readFile path);
  importTOML = path: builtins.fromTOML (builtins.readFile path);
  min = a: b: if a < b then a else b;
  max = a: b: if a > b then a else b;
  mod = a: b: a - b * (a / b);
  isFunction = value: builtins.isFunction value || (builtins.isAttrs value && value ? __functor);
  functionArgs = f: if f ? __functor then f.__functionArgs or { } else builtins.functionArgs f;
  inherit (builtins)
    add
    bitAnd
    bitOr
    bitXor
    compareVersions
    deepSeq
    fromJSON
    genericClosure
    hasContext
    isAttrs
    isBool
    isFloat
    isInt
    isList
    isPath
    isString
    lessThan
    pathExists
    readDir
    readFile
    seq
    toJSON
    trace
    tryEval
    typeOf
    ;
}
