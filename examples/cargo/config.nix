# A project in Rust whose crates come from its Cargo.lock: `cargo build` needs no network in the container.
{ pkgs, ... }:
{
  packages = [
    pkgs.cargo
    pkgs.rustc
    pkgs.gcc
  ];
  libraries = {
    cargo = ./Cargo.lock;
  };
  command = [
    "cargo"
    "test"
    "--offline"
  ];
}
