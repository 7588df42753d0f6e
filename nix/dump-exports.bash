# Writes the exported variables of this bash, NUL-separated, with builtins only: the programs of the environment's PATH may
# be for another machine. A file of its own, since a POSIX shell can't even parse it.
while IFS= read -r berth_line; do
  if [[ $berth_line =~ ^declare\ -[a-zA-Z]*x[a-zA-Z]*\ ([A-Za-z_][A-Za-z0-9_]*)= ]]; then
    berth_key=${BASH_REMATCH[1]}
    case $berth_key in _ | BASHOPTS | SHELLOPTS | PPID | UID | EUID | BASH_* | berth_*) continue ;; esac
    # A line within another variable's value can look like this too: then it is no exported variable.
    [[ ${!berth_key+set} && $(declare -p "$berth_key") =~ ^declare\ -[a-zA-Z]*x ]] || continue
    [[ " $berth_seen " != *" $berth_key "* ]] || continue
    berth_seen="$berth_seen $berth_key"
    printf '%s=%s\0' "$berth_key" "${!berth_key}"
  fi
done <<< "$(export -p)"
