# Replit's shape: packages in `deps`.
{ pkgs }: {
  deps = [
    pkgs.nodejs
  ];
  env = {
    PORT = "3000";
  };
}
