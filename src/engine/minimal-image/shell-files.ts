/**
 * The start-up files of interactive shells in a berth: the environment's functions and hook, the prompt, and the switch to
 * another environment. At each prompt a shell compares its generation with the berth's by a builtin, without a process;
 * docs/live-switch.md says what a user sees.
 */

/** For bash, zsh and busybox's sh: defines `berth`, and what runs before each prompt. Sourcing it twice does no harm. */
const common = `# Lets a shell in a berth have the environment that the berth was switched to.
berth() {
  case "\${1-}$#" in
    reload1) _berth_reload ;;
    *)
      /berth/bin/berth "$@" || return
      # What was asked for in this shell is meant for it.
      case "\${1-}" in add | remove | rollback) _berth_is_current || _berth_reload ;; esac
      ;;
  esac
}
_berth_is_current() {
  [ /run/berth/current -ef "/run/berth/generation-\${BERTH_GENERATION-}" ]
}
_berth_reload() {
  if _berth_is_current; then
    echo "berth: this shell has the berth's environment already (generation \${BERTH_GENERATION-})"
    return 0
  fi
  _berth_lines=$(/berth/bin/berth reload --lines "\${_berth_shell-sh}") || return
  eval "$_berth_lines"
  unset _berth_lines
  if [ "\${_berth_shell-}" != zsh ]; then
    if [ -n "\${BASH_VERSION-}" ] && [ -r "/run/berth/generation-$BERTH_GENERATION/functions" ]; then
      . "/run/berth/generation-$BERTH_GENERATION/functions"
    fi
    if [ -r "/run/berth/generation-$BERTH_GENERATION/hook" ]; then . "/run/berth/generation-$BERTH_GENERATION/hook"; fi
  fi
  hash -r 2>/dev/null
  echo "berth: this shell has generation $BERTH_GENERATION now"
}
_berth_prompt() {
  _berth_status=$?
  if [ "\${BERTH_RELOAD-notify}" != off ] && [ -e /run/berth/current ] && ! _berth_is_current &&
    ! [ /run/berth/current -ef "\${_berth_seen-}" ]; then
    _berth_seen=/run/berth/$(/berth/bin/busybox readlink /run/berth/current)
    _berth_change=
    if [ "$_berth_seen" = "/run/berth/generation-$((\${BERTH_GENERATION:-0} + 1))" ] && [ -r "$_berth_seen/change" ]; then
      read -r _berth_change <"$_berth_seen/change"
    fi
    if [ "\${BERTH_RELOAD-notify}" = auto ]; then
      echo "berth: the environment has changed\${_berth_change:+ ($_berth_change)}"
      _berth_reload
    else
      echo "berth: the environment has changed\${_berth_change:+ ($_berth_change)}: \\\`berth reload\\\` takes it"
    fi
    unset _berth_change
  fi
  return $_berth_status
}
if [ -n "\${BASH_VERSION-}" ]; then
  _berth_shell=bash
  # After what the user has there, which may want the last command's status.
  case "\${PROMPT_COMMAND-}" in
    *_berth_prompt*) ;;
    *) PROMPT_COMMAND="\${PROMPT_COMMAND:+$PROMPT_COMMAND; }_berth_prompt" ;;
  esac
elif [ -n "\${ZSH_VERSION-}" ]; then
  _berth_shell=zsh
  eval 'precmd_functions=(\${precmd_functions:#_berth_prompt} _berth_prompt)'
fi
`;

/** Of the shells that Berth starts: prompt, then the environment's functions and hook. */
const shellrc = `# Sourced by the interactive shells that Berth starts.
_berth_folder=/run/berth
if [ -n "\${BERTH_GENERATION-}" ]; then _berth_folder=/run/berth/generation-$BERTH_GENERATION; fi
if [ -n "\${BASH_VERSION-}" ]; then
  if [ -r "\${HOME-}/.bashrc" ]; then . "$HOME/.bashrc"; fi
  PS1='\\[\\033[1;32m\\][\\h:\\w]\\$\\[\\033[0m\\] '
  if [ -r "$_berth_folder/functions" ]; then . "$_berth_folder/functions"; fi
else
  unset ENV
  PS1='[\${HOSTNAME-berth}:\\w]\\$ '
fi
. /berth/etc/berth.sh
if [ -n "\${BERTH_RUN_HOOK-}" ]; then
  unset BERTH_RUN_HOOK
  if [ -r "$_berth_folder/hook" ]; then . "$_berth_folder/hook"; fi
fi
unset _berth_folder
`;

const bashrc = `# Of bash: what the environment's own bash brings, then Berth's.
if [ -r /run/berth/fhs/etc/bash.bashrc ]; then . /run/berth/fhs/etc/bash.bashrc; fi
case $- in *i*) . /berth/etc/berth.sh ;; esac
`;

const zshrc = `# Of zsh: what the environment's own zsh brings, then Berth's.
if [ -r /run/berth/fhs/etc/zsh/zshrc ]; then . /run/berth/fhs/etc/zsh/zshrc; fi
. /berth/etc/berth.sh
`;

const fish = `# Lets a fish in a berth have the environment that the berth was switched to.
if status is-interactive
    function _berth_is_current
        test (path resolve /run/berth/current) = "/run/berth/generation-$BERTH_GENERATION"
    end
    function _berth_reload
        if _berth_is_current
            echo "berth: this shell has the berth's environment already (generation $BERTH_GENERATION)"
            return 0
        end
        set -l lines (/berth/bin/berth reload --lines fish | string collect)
        or return
        eval $lines
        echo "berth: this shell has generation $BERTH_GENERATION now"
    end
    function berth
        if test (count $argv) -eq 1; and test "$argv[1]" = reload
            _berth_reload
            return
        end
        /berth/bin/berth $argv
        or return
        # What was asked for in this shell is meant for it.
        if contains -- "$argv[1]" add remove rollback; and not _berth_is_current
            _berth_reload
        end
    end
    function _berth_prompt --on-event fish_prompt
        test "$BERTH_RELOAD" != off; and test -e /run/berth/current
        or return
        set -l now (path resolve /run/berth/current)
        if test $now = "/run/berth/generation-$BERTH_GENERATION"; or test "$now" = "$_berth_seen"
            return
        end
        set -g _berth_seen $now
        set -l change
        if string match -qr '^\\d+$' -- "$BERTH_GENERATION"; and test $now = /run/berth/generation-(math $BERTH_GENERATION + 1); and test -r $now/change
            read -l first <$now/change
            set change " ($first)"
        end
        if test "$BERTH_RELOAD" = auto
            echo "berth: the environment has changed$change"
            _berth_reload
        else
            echo "berth: the environment has changed$change: \`berth reload\` takes it"
        end
    end
end
`;

/** By their names in /berth/etc. */
export const shellFiles: Readonly<Record<string, string>> = {
  'bash.bashrc': bashrc,
  'berth.fish': fish,
  'berth.sh': common,
  shellrc,
  zshrc,
};
