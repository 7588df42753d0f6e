# The builder of nix/environment.nix: sets the environment up as the derivation's stdenv does, and writes it to $out.
# Runs in bash or in a POSIX shell, whatever the derivation's builder is. The variables left out are those that
# `nix print-dev-env` ignores, and those that only a build has.

# Structured attributes. Nix before 2.10 names the file by a path outside the sandbox.
for berth_file in "${NIX_ATTRS_SH_FILE:-}" "${NIX_BUILD_TOP:-.}/.attrs.sh"; do
  if [ -n "$berth_file" ] && [ -e "$berth_file" ]; then
    NIX_ATTRS_SH_FILE=$berth_file
    NIX_ATTRS_JSON_FILE=${berth_file%.sh}.json
    . "$berth_file"
    # An associative array: not something that a POSIX shell can even parse.
    eval 'out="${outputs[out]}"'
    break
  fi
done

IN_NIX_SHELL=impure
dontAddDisableDepTrack=1
name=$berthName
export IN_NIX_SHELL dontAddDisableDepTrack name

if [ -n "${stdenv:-}" ] && [ -e "$stdenv/setup" ]; then
  . "$stdenv/setup"
fi
set +eu

berth_out=$out
berth_hook=${shellHook:-}
berth_fhs=${berthFhs:-}
berth_command=${berthCommand:-}
berth_path=$PATH
berth_names=$berthVariables
berth_dump_bash=$berthDumpBash
berth_suffix=${berthPathSuffix:-}
unset IFS

berth_index=0
for berth_name in $berth_names; do
  eval "berth_value_$berth_index=\$berthVariable$berth_index; unset berthVariable$berth_index"
  berth_index=$((berth_index + 1))
done

if [ -n "${berthTools:-}" ]; then berth_tools=$berthTools; else berth_tools=; fi
unset berthName berthVariables berthDumpBash berthFhs berthCommand berthTools berthPath berthPathSuffix
unset NIX_BUILD_TOP NIX_BUILD_CORES NIX_LOG_FD NIX_REMOTE NIX_ENFORCE_PURITY NIX_ATTRS_SH_FILE NIX_ATTRS_JSON_FILE
unset TMP TMPDIR TEMP TEMPDIR TERM TZ HOME OLDPWD PWD SHLVL HOSTNAME
unset out outputs builder shellHook phases buildPhase buildCommand preferLocalBuild allowSubstitutes
case "${SSL_CERT_FILE:-}" in /no-cert-file.crt) unset SSL_CERT_FILE ;; esac
case "${NIX_SSL_CERT_FILE:-}" in /no-cert-file.crt) unset NIX_SSL_CERT_FILE ;; esac

# What only the shell itself sets when nobody gave it a PATH.
case "$PATH" in /path-not-set | /no-such-path) PATH= ;; esac
if [ -n "$berth_suffix" ]; then PATH=${PATH:+$PATH:}$berth_suffix; fi

berth_index=0
for berth_name in $berth_names; do
  eval "export $berth_name=\"\$berth_value_$berth_index\"; unset berth_value_$berth_index"
  berth_index=$((berth_index + 1))
done

berth_dump() {
  if [ -n "${BASH_VERSION:-}" ]; then
    . "$berth_dump_bash"
  else
    "$berth_env" -0
  fi
}

# Programs are those of berthTools, which run in any sandbox, else those of the derivation's PATH. A shell of busybox has
# them itself.
berth_find() {
  local IFS=:
  local folder
  for folder in $berth_tools $berth_path; do
    if [ -x "$folder/$1" ]; then
      printf %s "$folder/$1"
      return 0
    fi
  done
  printf %s "$1"
}

set -e
berth_env=$(berth_find env)
berth_mkdir=$(berth_find mkdir)
berth_ln=$(berth_find ln)

"$berth_mkdir" "$berth_out"
berth_dump > "$berth_out/variables"
if [ -n "${BASH_VERSION:-}" ]; then declare -f > "$berth_out/functions" || true; fi
if [ -n "$berth_hook" ]; then printf '%s' "$berth_hook" > "$berth_out/hook"; fi
if [ -n "$berth_command" ]; then printf '%s' "$berth_command" > "$berth_out/command"; fi
if [ -n "$berth_fhs" ]; then "$berth_ln" -s "$berth_fhs" "$berth_out/fhs"; fi
trap - EXIT
exit 0
