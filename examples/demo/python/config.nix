# Python with its standard library: ssl and sqlite3 included.
{ debian, ... }:
{
  packages = [ debian.python3 ];
  env.GREETING = "hello from python";
}
