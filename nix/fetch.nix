# Fetchers for a config. The sandbox has no network, so what is fetched must be pinned by its hash: it is then fetched
# outside, and the evaluation is asked again (src/nix/declared-fetches.ts). request.fetched has what is there already.
{ request }:

let
  inherit (import ./errors.nix) fail;

  withContext =
    path: builtins.appendContext (builtins.unsafeDiscardStringContext path) { ${path} = { path = true; }; };

  # What a fetch gave, by its fetcher and arguments.
  result =
    fetcher: arguments:
    let
      key = builtins.hashString "sha256" (builtins.toJSON { inherit fetcher arguments; });
    in
    if request.inside or false then
      # A container's own evaluation fetches by itself.
      builtins.${fetcher} arguments
    else
      request.fetched.${key} or (fail "FETCH_NEEDED" { inherit fetcher arguments key; });

  unpinned = fetcher: url: fail "FETCH_UNPINNED" { inherit fetcher; url = toString url; };

  outPathOf = value: if builtins.isAttrs value then value.outPath else value;

  file =
    fetcher: arguments:
    let
      set = if builtins.isAttrs arguments then arguments else { url = arguments; };
      hash = set.sha256 or set.hash or "";
    in
    if hash == "" then
      unpinned fetcher (set.url or "")
    else
      withContext (outPathOf (result fetcher set));

  tree = value: value // { outPath = withContext value.outPath; };
in
{
  fetchurl = file "fetchurl";
  fetchTarball = file "fetchTarball";

  fetchGit =
    arguments:
    let
      set = if builtins.isAttrs arguments then arguments else { url = arguments; };
    in
    if set.rev or "" == "" then unpinned "fetchGit" (set.url or "") else tree (result "fetchGit" set);

  # Also what a flake's locked inputs go through.
  fetchTree =
    arguments:
    if builtins.isAttrs arguments && arguments.narHash or "" != "" then
      tree (result "fetchTree" arguments)
    else
      unpinned "fetchTree" (if builtins.isAttrs arguments then arguments.url or arguments.repo or "" else arguments);
}
