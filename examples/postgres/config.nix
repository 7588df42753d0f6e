# A PostgreSQL server of the project's own, and its client.
{ pkgs, ... }:
{
  packages = [ pkgs.postgresql ];
  env = {
    PGDATA = "/tmp/postgres";
    PGHOST = "/tmp";
    PGUSER = "postgres";
    PGDATABASE = "postgres";
  };
  command = [
    "sh"
    ./start.sh
  ];
  ports = [ 5432 ];
}
