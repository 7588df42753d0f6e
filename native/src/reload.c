/* `berth reload --lines SHELL`: prints what a shell has to do so that it has the environment that the berth has now.
 * Three are compared: what its generation gave (BERTH_GENERATION), what the current one gives, and what the shell has.
 * What the shell has as its generation gave it becomes what the current one gives; what the user has set, changed or
 * taken away stays so. Of PATH the folders that its generation gave are replaced, where they stand. */
#include "agent.h"

#define FILE_LIMIT (1024 * 1024)
#define MAX_ENTRIES (2 * MAX_VARIABLES)
#define PATH_LIMIT 4096

struct variables {
  char *entries[MAX_ENTRIES + 1];
  usize count;
};

enum dialect { SH, FISH };

static char old_text[FILE_LIMIT + 1], new_text[FILE_LIMIT + 1], hook_text[FILE_LIMIT + 1];
static struct variables given, wanted, shells, target, after_hook;

static usize name_length(const char *variable) {
  usize length = 0;
  while (variable[length] != 0 && variable[length] != '=') length += 1;
  return length;
}

static int is_name(const char *variable, usize length) {
  if (length == 0 || variable[length] != '=') return 0;
  for (usize i = 0; i < length; i += 1) {
    char c = variable[i];
    int letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    if (!letter && (i == 0 || c < '0' || c > '9')) return 0;
  }
  return 1;
}

static void add(struct variables *variables, char *entry) {
  if (variables->count < MAX_ENTRIES && is_name(entry, name_length(entry)))
    variables->entries[variables->count++] = entry;
  variables->entries[variables->count] = NULL;
}

/* The place of the entry of the same name, or NULL. */
static char **find(struct variables *variables, const char *entry) {
  usize length = name_length(entry);
  for (usize i = 0; i < variables->count; i += 1)
    if (memcmp(variables->entries[i], entry, length) == 0 && variables->entries[i][length] == '=')
      return &variables->entries[i];
  return NULL;
}

static void set(struct variables *variables, char *entry) {
  char **place = find(variables, entry);
  if (place != NULL) *place = entry;
  else add(variables, entry);
}

static void take_away(struct variables *variables, const char *entry) {
  char **place = find(variables, entry);
  if (place == NULL) return;
  *place = variables->entries[--variables->count];
  variables->entries[variables->count] = NULL;
}

static void parse(struct variables *variables, char *text, long length) {
  if (length < 0) length = 0;
  text[length] = 0;
  for (char *at = text; at < text + length; at += strlen(at) + 1) add(variables, at);
}

static void load(struct variables *variables, const char *folder, char *text) {
  char path[PATH_LIMIT];
  struct text path_text = text_in(path, sizeof path);
  text_add(&path_text, folder);
  text_add(&path_text, "/environment");
  parse(variables, text, read_file(path, text, FILE_LIMIT));
}

/* ------------------------------------------------------------------------------------------------------- PATH */

static int has_folder(const char *path, const char *wanted_folder, usize length) {
  while (*path != 0) {
    usize part = 0;
    while (path[part] != 0 && path[part] != ':') part += 1;
    if (part == length && memcmp(path, wanted_folder, part) == 0) return 1;
    path += part + (path[part] == ':');
  }
  return 0;
}

static void add_folders(struct text *text, const char *path, const char *but, const char *start) {
  while (*path != 0) {
    usize part = 0;
    while (path[part] != 0 && path[part] != ':') part += 1;
    if (part > 0 && (but == NULL || !has_folder(but, path, part))) {
      text_add(text, text->length > strlen(start) ? ":" : "");
      text_add_bytes(text, path, part);
    }
    path += part + (path[part] == ':');
  }
}

static const char *value_of(struct variables *variables, const char *name) {
  const char *value = variable_of(variables->entries, name);
  return value != NULL ? value : "";
}

/* The new folders come where the first old one was, or first. */
static void replace_path(void) {
  static char path[256 * 1024];
  const char *old = value_of(&given, "PATH"), *now = value_of(&wanted, "PATH"), *own = value_of(&shells, "PATH");
  struct text text = text_in(path, sizeof path);
  text_add(&text, "PATH=");
  int placed = 0;
  int replaces = 0;
  for (const char *at = own; *at != 0 && !replaces;) {
    usize part = 0;
    while (at[part] != 0 && at[part] != ':') part += 1;
    replaces = has_folder(old, at, part);
    at += part + (at[part] == ':');
  }
  if (!replaces) {
    add_folders(&text, now, NULL, "PATH=");
    placed = 1;
  }
  for (const char *at = own; *at != 0;) {
    usize part = 0;
    while (at[part] != 0 && at[part] != ':') part += 1;
    if (has_folder(old, at, part) && !placed) {
      add_folders(&text, now, NULL, "PATH=");
      placed = 1;
    }
    if (part > 0 && !has_folder(old, at, part) && !has_folder(now, at, part)) {
      text_add(&text, text.length > strlen("PATH=") ? ":" : "");
      text_add_bytes(&text, at, part);
    }
    at += part + (at[part] == ':');
  }
  /* As for any command: what the container has anyway. Folders of the old environment may have been among them. */
  add_folders(&text, FALLBACK_PATH, path + strlen("PATH="), "PATH=");
  if (!text.full) set(&target, path);
}

/* ---------------------------------------------------------------------------------------------------- compared */

static void make_target(void) {
  for (usize i = 0; i < shells.count; i += 1) add(&target, shells.entries[i]);
  for (usize i = 0; i < given.count; i += 1) {
    char *old = given.entries[i];
    char **own = find(&shells, old);
    if (find(&wanted, old) == NULL && own != NULL && text_equal(*own, old)) take_away(&target, old);
  }
  for (usize i = 0; i < wanted.count; i += 1) {
    char *now = wanted.entries[i];
    char **old = find(&given, now), **own = find(&shells, now);
    int untouched = old == NULL ? own == NULL : own != NULL && text_equal(*own, *old);
    if (untouched || text_starts(now, "BERTH_GENERATION=")) set(&target, now);
  }
  replace_path();
}

/* A shell that is no sh can't source the hook: a shell that can does, and what it exports is taken over. */
static void run_hook(const char *folder) {
  static char script[2 * PATH_LIMIT], program[PATH_LIMIT];
  struct stat status;
  int ends[2];
  struct text text = text_in(script, sizeof script);
  text_add(&text, folder);
  text_add(&text, "/hook");
  if (sys_fstatat(AT_FDCWD, script, &status, 0) != 0 || sys_pipe(ends, O_CLOEXEC) < 0) return;
  text = text_in(script, sizeof script);
  text_add(&text, "{ [ -z \"${BASH_VERSION-}\" ] || [ ! -r ");
  text_add(&text, folder);
  text_add(&text, "/functions ] || . ");
  text_add(&text, folder);
  text_add(&text, "/functions; . ");
  text_add(&text, folder);
  text_add(&text, "/hook; } >&2\nexec " AGENT_PROGRAM " --print-variables");
  const char *path = value_of(&target, "PATH");
  int is_bash = find_program("bash", path, program) == 0;
  long pid = sys_fork();
  if (pid == 0) {
    sys_dup3(ends[1], 1, 0);
    char *arguments[] = {is_bash ? "bash" : "sh", "-c", script, NULL};
    sys_execve(is_bash ? program : BUSYBOX, arguments, target.entries);
    sys_exit(127);
  }
  sys_close(ends[1]);
  long length = 0;
  while (pid > 0 && length < FILE_LIMIT) {
    long got = sys_read(ends[0], hook_text + length, (usize)(FILE_LIMIT - length));
    if (got == -EINTR) continue;
    if (got <= 0) break;
    length += got;
  }
  sys_close(ends[0]);
  int wait_status = 1;
  if (pid > 0)
    while (sys_wait((int)pid, &wait_status, 0) == -EINTR) continue;
  if (wait_status != 0) return;
  parse(&after_hook, hook_text, length);
  target = after_hook;
}

/* ------------------------------------------------------------------------------------------------------- lines */

static char lines[32 * 1024];
static usize lines_length;

static void flush_lines(void) {
  write_all(1, lines, lines_length);
  lines_length = 0;
}

static void put(const char *text, usize length) {
  for (usize i = 0; i < length; i += 1) {
    if (lines_length == sizeof lines) flush_lines();
    lines[lines_length++] = text[i];
  }
}

static void put_text(const char *text) { put(text, strlen(text)); }

static void put_quoted(const char *text, usize length, enum dialect dialect) {
  put("'", 1);
  for (usize i = 0; i < length; i += 1) {
    if (dialect == FISH && (text[i] == '\\' || text[i] == '\'')) put("\\", 1);
    if (dialect == SH && text[i] == '\'') put_text("'\\'");
    put(text + i, 1);
  }
  put("'", 1);
}

static void put_export(const char *entry, enum dialect dialect) {
  usize length = name_length(entry);
  const char *value = entry + length + 1;
  put_text(dialect == FISH ? "set -gx " : "export ");
  put(entry, length);
  put(dialect == FISH ? " " : "=", 1);
  if (dialect == FISH && text_starts(entry, "PATH=")) {
    /* Fish's is a list. */
    while (*value != 0) {
      usize part = 0;
      while (value[part] != 0 && value[part] != ':') part += 1;
      put_quoted(value, part, FISH);
      put(" ", 1);
      value += part + (value[part] == ':');
    }
  } else put_quoted(value, strlen(value), dialect);
  put("\n", 1);
}

/* What each shell keeps itself. */
static int is_shells_own(const char *entry) {
  static const char *const own[] = {"_=", "SHLVL=", "PWD=", "OLDPWD=", "BASHOPTS=", "SHELLOPTS=", "BERTH_RUN_HOOK="};
  for (usize i = 0; i < COUNT_OF(own); i += 1)
    if (text_starts(entry, own[i])) return 1;
  return 0;
}

static void put_difference(enum dialect dialect) {
  for (usize i = 0; i < shells.count; i += 1) {
    char *own = shells.entries[i];
    if (is_shells_own(own) || find(&target, own) != NULL) continue;
    put_text(dialect == FISH ? "set -e " : "unset ");
    put(own, name_length(own));
    put("\n", 1);
  }
  for (usize i = 0; i < target.count; i += 1) {
    char *now = target.entries[i];
    char **own = find(&shells, now);
    if (!is_shells_own(now) && (own == NULL || !text_equal(*own, now))) put_export(now, dialect);
  }
}

int reload_lines(const char *shell, char **environment) {
  char old_folder[PATH_LIMIT], new_folder[PATH_LIMIT];
  enum dialect dialect = text_equal(shell, "fish") ? FISH : SH;
  const char *generation = variable_of(environment, "BERTH_GENERATION");
  struct text text = text_in(old_folder, sizeof old_folder);
  add_generation_folder(&text, generation != NULL ? generation : "none");
  for (const char *at = generation; at != NULL && *at != 0; at += 1)
    if (*at < '0' || *at > '9') text.full = 1;
  environment_folder(new_folder, sizeof new_folder);
  if (text_equal(old_folder, new_folder)) return 0;
  for (char **variable = environment; *variable != NULL; variable += 1) add(&shells, *variable);
  if (!text.full) load(&given, old_folder, old_text);
  load(&wanted, new_folder, new_text);
  make_target();
  /* Shells that can source the hook do it themselves, so that what it defines stays. */
  if (dialect == FISH || text_equal(shell, "zsh")) run_hook(new_folder);
  put_difference(dialect);
  flush_lines();
  return 0;
}

int print_variables(char **environment) {
  for (char **variable = environment; *variable != NULL; variable += 1)
    if (write_all(1, *variable, strlen(*variable) + 1) < 0) return 1;
  return 0;
}
