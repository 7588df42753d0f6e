/* From a request to a running command: user, folder, variables, hook, PATH. */
#include "agent.h"

#define FILE_LIMIT (1024 * 1024)
#define PATH_LIMIT 4096

static char folder[PATH_LIMIT]; /* of the environment */
static char environment_text[FILE_LIMIT + 1];
static char *environment[2 * MAX_VARIABLES + 32];
static usize environment_count;

static void complain(const char *subject, const char *what) {
  char line[PATH_LIMIT];
  struct text text = text_in(line, sizeof line - 1);
  text_add(&text, "berth: ");
  text_add(&text, subject);
  text_add(&text, what);
  line[text.length] = '\n';
  write_all(2, line, text.length + 1);
}

static usize name_length(const char *variable) {
  usize length = 0;
  while (variable[length] != 0 && variable[length] != '=') length += 1;
  return length;
}

/* Sets a K=V; a later one wins. Entries that are no K=V are left out. */
static void set_variable(char *variable) {
  usize length = name_length(variable);
  if (length == 0 || variable[length] != '=') return;
  for (usize i = 0; i < environment_count; i += 1)
    if (memcmp(environment[i], variable, length + 1) == 0) {
      environment[i] = variable;
      return;
    }
  if (environment_count < COUNT_OF(environment) - 1) environment[environment_count++] = variable;
}

static void set_default(char *variable) {
  char name[64];
  usize length = name_length(variable);
  struct text text = text_in(name, sizeof name);
  text_add_bytes(&text, variable, length);
  environment[environment_count] = NULL;
  if (variable_of(environment, name) == NULL) set_variable(variable);
}

static const char *in_folder(const char *name) {
  static char path[PATH_LIMIT + 16];
  struct text text = text_in(path, sizeof path);
  text_add(&text, folder);
  text_add(&text, name);
  return path;
}

static void load_environment_file(void) {
  const char *path = in_folder("/environment");
  long length = read_file(path, environment_text, FILE_LIMIT);
  if (length == -ENOENT) return;
  if (length < 0) {
    complain(path, length == -EFBIG ? ": larger than 1 MiB" : ": cannot be read");
    sys_exit(126);
  }
  environment_text[length] = 0;
  for (char *at = environment_text; at < environment_text + length; at += strlen(at) + 1) set_variable(at);
}

/* HOME and USER by the container's own /etc/passwd: name:x:uid:gid:comment:home:shell. */
static void set_user_defaults(u32 uid) {
  static char passwd[64 * 1024 + 1], home[PATH_LIMIT], user[256], logname[256];
  struct text home_text = text_in(home, sizeof home);
  struct text user_text = text_in(user, sizeof user);
  struct text logname_text = text_in(logname, sizeof logname);
  text_add(&home_text, "HOME=");
  text_add(&user_text, "USER=");
  text_add(&logname_text, "LOGNAME=");
  long length = read_file("/etc/passwd", passwd, sizeof passwd - 1);
  int found = 0;
  if (length > 0) {
    passwd[length] = 0;
    for (char *line = passwd; *line != 0 && !found;) {
      char *fields[7] = {line};
      usize count = 1;
      char *at = line;
      for (; *at != 0 && *at != '\n'; at += 1)
        if (*at == ':') {
          *at = 0;
          if (count < COUNT_OF(fields)) fields[count++] = at + 1;
        }
      if (*at == '\n') *at++ = 0;
      char number[16];
      struct text wanted = text_in(number, sizeof number);
      text_add_number(&wanted, uid);
      if (count == COUNT_OF(fields) && text_equal(fields[2], number)) {
        text_add(&home_text, fields[5]);
        text_add(&user_text, fields[0]);
        text_add(&logname_text, fields[0]);
        found = 1;
      }
      line = at;
    }
  }
  if (!found) text_add(&home_text, uid == 0 ? "/root" : "/tmp");
  set_default(home);
  if (!found) return;
  set_default(user);
  set_default(logname);
}

static int has_component(const char *path, const char *wanted, usize length) {
  while (*path != 0) {
    usize part = 0;
    while (path[part] != 0 && path[part] != ':') part += 1;
    if (part == length && memcmp(path, wanted, part) == 0) return 1;
    path += part + (path[part] == ':');
  }
  return 0;
}

/* The environment's PATH, then what the container has anyway, so that `ls` works in any environment. */
static void complete_path(void) {
  static char path[128 * 1024];
  environment[environment_count] = NULL;
  const char *own = variable_of(environment, "PATH");
  struct text text = text_in(path, sizeof path);
  text_add(&text, "PATH=");
  if (own != NULL) text_add(&text, own);
  for (const char *at = FALLBACK_PATH; *at != 0;) {
    usize part = 0;
    while (at[part] != 0 && at[part] != ':') part += 1;
    if (own == NULL || !has_component(own, at, part)) {
      if (text.length > strlen("PATH=")) text_add(&text, ":");
      text_add_bytes(&text, at, part);
    }
    at += part + (at[part] == ':');
  }
  if (!text.full) set_variable(path);
}

long find_program(const char *name, const char *path, char *found) {
  long result = -ENOENT;
  while (*path != 0) {
    usize part = 0;
    while (path[part] != 0 && path[part] != ':') part += 1;
    struct text text = text_in(found, PATH_LIMIT);
    text_add_bytes(&text, part > 0 ? path : ".", part > 0 ? part : 1);
    text_add(&text, "/");
    text_add(&text, name);
    struct stat status;
    if (!text.full && sys_fstatat(AT_FDCWD, found, &status, 0) == 0 && (status.st_mode & S_IFMT) == S_IFREG) {
      if (SYS3(__NR_faccessat, AT_FDCWD, found, 1 /* X_OK */) == 0) return 0;
      result = -EACCES;
    }
    path += part + (path[part] == ':');
  }
  return result;
}

static int has_slash(const char *name) {
  for (; *name != 0; name += 1)
    if (*name == '/') return 1;
  return 0;
}

__attribute__((noreturn)) static void exec_program(const char *program, const char *name, char *const *arguments,
                                                   char *const *variables) {
  static char *script[MAX_ARGUMENTS + 8];
  long failed = sys_execve(program, arguments, variables);
  if (failed == -ENOEXEC) {
    /* A script without a first line that names its interpreter: a shell runs it, as execvp(3) does. */
    usize count = 0;
    script[count++] = "sh";
    script[count++] = (char *)program;
    for (usize i = 1; arguments[i] != NULL && count < COUNT_OF(script) - 1; i += 1) script[count++] = arguments[i];
    script[count] = NULL;
    failed = sys_execve(BUSYBOX, script, variables);
  }
  struct stat status;
  if (failed == -ENOENT && sys_fstatat(AT_FDCWD, program, &status, 0) == 0) {
    complain(name, ": the interpreter or loader that it names is not in the container");
    sys_exit(126);
  }
  if (failed == -ENOENT || failed == -ENOTDIR) {
    complain(name, ": command not found");
    sys_exit(127);
  }
  complain(name, failed == -E2BIG    ? ": arguments and variables are too long"
                 : failed == -ENOMEM ? ": not enough memory to start"
                                     : ": cannot be executed");
  sys_exit(126);
}

void exec_on_path(char *const *arguments, char *const *variables) {
  static char program[PATH_LIMIT];
  const char *name = arguments[0];
  if (has_slash(name)) exec_program(name, name, arguments, variables);
  const char *path = variable_of(variables, "PATH");
  long failed = *name == 0 ? -ENOENT : find_program(name, path != NULL ? path : FALLBACK_PATH, program);
  if (failed == 0) exec_program(program, name, arguments, variables);
  complain(*name == 0 ? "''" : name, failed == -EACCES ? ": is not executable" : ": command not found");
  sys_exit(failed == -EACCES ? 126 : 127);
}

/* The environment's bash, else the container's own shell. */
static const char *find_shell(int *is_bash) {
  static char bash[PATH_LIMIT];
  environment[environment_count] = NULL;
  const char *path = variable_of(environment, "PATH");
  *is_bash = path != NULL && find_program("bash", path, bash) == 0;
  return *is_bash ? bash : BUSYBOX;
}

static void drop_to_user(const struct run_header *header) {
  if (header->gid != NO_ID) {
    u32 groups[1] = {header->gid};
    if (SYS2(__NR_setgroups, 1, groups) < 0 || SYS3(__NR_setresgid, header->gid, header->gid, header->gid) < 0) {
      complain("group", ": the agent may not change to it");
      sys_exit(126);
    }
  }
  if (header->uid != NO_ID && SYS3(__NR_setresuid, header->uid, header->uid, header->uid) < 0) {
    complain("user", ": the agent may not change to it");
    sys_exit(126);
  }
}

static int exists(const char *path) {
  struct stat status;
  return sys_fstatat(AT_FDCWD, path, &status, 0) == 0;
}

void become_command(struct run_request *request) {
  const struct run_header *header = &request->header;
  /* Read before the user changes: the file is the berth's, not that user's. */
  environment_folder(folder, sizeof folder);
  if (header->flags & RUN_ENVIRONMENT) load_environment_file();
  drop_to_user(header);
  for (char **variable = request->variables; *variable != NULL; variable += 1) set_variable(*variable);
  set_user_defaults(header->uid != NO_ID ? header->uid : (u32)SYS0(__NR_getuid));
  complete_path();
  const char *directory = *request->directory != 0 ? request->directory : "/work";
  if (SYS1(__NR_chdir, directory) < 0) {
    complain(directory, ": no such folder in the container");
    sys_exit(126);
  }

  int is_bash;
  const char *shell = find_shell(&is_bash);
  int hook = (header->flags & RUN_HOOK) != 0 && exists(in_folder("/hook"));
  char *shell_name = is_bash ? "bash" : "sh";
  static char *wrapped[MAX_ARGUMENTS + 8];

  if (header->argument_count == 0 && (header->flags & RUN_TTY)) {
    /* An interactive shell: its start-up file sources the hook, so that what the hook defines stays. */
    if (hook) set_variable("BERTH_RUN_HOOK=1");
    if (!is_bash) set_variable("ENV=" SHELL_RC);
    environment[environment_count] = NULL;
    char *bash_arguments[] = {shell_name, "--rcfile", SHELL_RC, "-i", NULL};
    char *sh_arguments[] = {shell_name, "-i", NULL};
    exec_program(shell, shell, is_bash ? bash_arguments : sh_arguments, environment);
  }
  environment[environment_count] = NULL;
  if (header->argument_count == 0) {
    request->arguments[0] = (char *)(is_bash ? shell : "sh");
    request->arguments[1] = NULL;
  }
  if (!hook) exec_on_path(request->arguments, environment);

  static char script[4 * PATH_LIMIT];
  struct text text = text_in(script, sizeof script);
  /* The environment's functions are bash's own, and often used by the hook. */
  if (is_bash && exists(in_folder("/functions"))) {
    text_add(&text, ". ");
    text_add(&text, in_folder("/functions"));
    text_add(&text, "\n");
  }
  text_add(&text, ". ");
  text_add(&text, in_folder("/hook"));
  text_add(&text, "\nexec " AGENT_PROGRAM " --exec \"$@\"");
  usize count = 0;
  wrapped[count++] = shell_name;
  wrapped[count++] = "-c";
  wrapped[count++] = script;
  wrapped[count++] = "berth";
  for (char **argument = request->arguments; *argument != NULL; argument += 1) wrapped[count++] = *argument;
  wrapped[count] = NULL;
  exec_program(shell, shell, wrapped, environment);
}
