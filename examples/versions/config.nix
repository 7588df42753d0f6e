# Several versions of one language side by side: the default source's in /usr, others by `at`. Programs of the others are
# also there as NAME@VERSION.
{ pkgs, at, ... }:
{
  packages = [
    pkgs.nodejs
    (at "nodejs" "20")
    (at "python3" "3.13")
  ];
}
