# `import <nixpkgs/lib>` for a default source that is not a tree of files.
(import ../. { }).lib
