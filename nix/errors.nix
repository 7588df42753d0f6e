# How Nix code of Berth's fails: a code of src/core/errors.ts and its facts, which src/nix/evaluation-errors.ts reads
# back from Nix's message. `position` is what builtins.unsafeGetAttrPos gives, or null.
rec {
  fail = code: facts: throw "berth-error:${builtins.unsafeDiscardStringContext (builtins.toJSON (facts // { inherit code; }))}";

  failAt =
    code: position: facts:
    fail code (facts // { inherit position; });
}
