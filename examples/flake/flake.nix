# A flake's development shell. Without a flake.lock, `nixpkgs` is the project's default source; with one, what it locks.
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs";

  outputs =
    { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
    in
    {
      devShells.${system}.default = pkgs.mkShell {
        packages = [ pkgs.perl ];
        GREETING = "from a flake";
      };
    };
}
