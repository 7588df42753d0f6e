# A project in Go whose modules come from its go.sum: `go build` needs no network in the container.
{ pkgs, ... }:
{
  packages = [ pkgs.golang-go ];
  libraries = {
    go = ./go.sum;
  };
  env = {
    CGO_ENABLED = "0";
  };
  command = [
    "go"
    "test"
    "./..."
  ];
}
