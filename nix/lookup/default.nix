# What `<nixpkgs>` leads to when the default source is not a tree of files: `import <nixpkgs> { }` gives the source.
# nix/load.nix takes imports of this file over; the file itself serves imports from elsewhere.
arguments:
(import ../sources.nix {
  request = import ../request.nix;
  importFile = import;
}).importDefault
  arguments
