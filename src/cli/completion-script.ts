/** Completion scripts, made from the commands themselves. */
import type { Command } from 'commander';

export type CompletionShell = 'bash' | 'zsh' | 'fish';

interface Words {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly { readonly flag: string; readonly description: string }[];
  /** What its arguments are. */
  readonly arguments: 'berths' | 'folders' | 'none';
}

const takesBerths = new Set(['exec', 'logs', 'stop', 'start', 'rm', 'history', 'rollback']);

/** @param program with all commands loaded */
export function completionScript(shell: CompletionShell, program: Command): string {
  const commands = program.commands.map((command): Words => ({
    name: command.name(),
    summary: command.description().split('. ')[0]?.replace(/\.$/, '') ?? '',
    options: command.options.map((option) => ({ flag: option.long ?? option.flags, description: option.description })),
    arguments: takesBerths.has(command.name())
      ? 'berths'
      : command.registeredArguments.some((argument) => argument.name() === 'path')
        ? 'folders'
        : 'none',
  }));
  if (shell === 'bash') return bash(commands);
  return shell === 'zsh' ? zsh(commands) : fish(commands);
}

function bash(commands: readonly Words[]): string {
  const cases = commands.map((command) => {
    const options = command.options.map((option) => option.flag).join(' ');
    return `    ${command.name}) options='${options}'; arguments=${command.arguments} ;;`;
  });
  return `# Completion for berth: eval "$(berth completion bash)"
_berth() {
  local current=\${COMP_WORDS[COMP_CWORD]} command=\${COMP_WORDS[1]-} options= arguments=none
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${commands.map((command) => command.name).join(' ')} --help --version' -- "$current"))
    return
  fi
  case $command in
${cases.join('\n')}
  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$options --help" -- "$current")) ;;
    *)
      case $arguments in
        berths) COMPREPLY=($(compgen -W "$(berth ps --quiet 2>/dev/null)" -- "$current")) ;;
        folders) COMPREPLY=($(compgen -f -- "$current")) ;;
      esac ;;
  esac
}
complete -o filenames -F _berth berth`;
}

function zsh(commands: readonly Words[]): string {
  const describe = (name: string, text: string): string => `'${zshText(name)}:${zshText(text)}'`;
  const cases = commands.map((command) => {
    const options = command.options.map((option) => `'${option.flag}[${zshText(option.description)}]'`).join(' ');
    const rest =
      command.arguments === 'berths'
        ? "'*:berth:_berth_names'"
        : command.arguments === 'folders'
          ? "'*:path:_files'"
          : '';
    return `    ${command.name}) _arguments ${options} ${rest} ;;`.trimEnd();
  });
  return `#compdef berth
# Completion for berth: eval "$(berth completion zsh)"
_berth_names() {
  local -a names
  names=(\${(f)"$(berth ps --quiet 2>/dev/null)"})
  _describe berth names
}
_berth() {
  local -a commands
  commands=(${commands.map((command) => describe(command.name, command.summary)).join(' ')})
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
compdef _berth berth`;
}

function zshText(text: string): string {
  return text.replaceAll("'", "'\\''").replace(/([\\[\]:])/g, '\\$1');
}

function fish(commands: readonly Words[]): string {
  const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = commands.flatMap((command) => [
    `complete -c berth -n __fish_use_subcommand -a ${command.name} -d ${quote(command.summary)}`,
    ...command.options.map(
      (option) =>
        `complete -c berth -n '__fish_seen_subcommand_from ${command.name}' -l ${option.flag.replace(/^--/, '')} -d ${quote(option.description)}`,
    ),
    ...(command.arguments === 'berths'
      ? [`complete -c berth -n '__fish_seen_subcommand_from ${command.name}' -f -a '(berth ps --quiet 2>/dev/null)'`]
      : []),
  ]);
  return [
    '# Completion for berth: berth completion fish | source',
    'complete -c berth -f -n __fish_use_subcommand',
    ...lines,
  ].join('\n');
}
