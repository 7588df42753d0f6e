# What an evaluation was asked: see requestForNix in src/nix/evaluate.ts. Within a container, the part that does not
# depend on the run lies in the store (container/default.nix) and `base` names it.
let
  # Its text is data: what is read from the store would carry the references of the file that it is in.
  read = file: builtins.fromJSON (builtins.unsafeDiscardStringContext (builtins.readFile file));
  request = read <berth-request>;
in
if request ? base then read request.base // removeAttrs request [ "base" ] else request
