# A web application on Python's standard library, with its data in SQLite.
{ pkgs, ... }:
{
  packages = [
    pkgs.python3
    pkgs.sqlite
  ];
  env = {
    PORT = 8080;
    PYTHONUNBUFFERED = true;
  };
  command = [
    "python3"
    "app.py"
  ];
  ports = [ 8080 ];
}
