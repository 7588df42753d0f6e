/* berth-hot: asks the daemon to do a command, prints its answer or becomes the bridge to a command in a berth. Whatever
 * the daemon does not do at once (a miss, an error, an unusual flag, no daemon at all), the Node command does: berth-hot
 * then becomes it, with the same arguments and variables. docs/hot-path.md explains it. */
#include "hot.h"
#include "start.h"

#define PATH_LIMIT 4096
#define MAX_NODE_ARGUMENTS 8192
#define BUILD_LIMIT 64

static char **arguments;
static int argument_count;
static char **environment;

/* ------------------------------------------------------------------------------------------- the Node command */

/* Becomes the Node command. Nothing has been printed, and nothing was read of standard input. */
__attribute__((noreturn)) static void fall_back(const char *root) {
  static char *node_arguments[MAX_NODE_ARGUMENTS + 3];
  static char program[PATH_LIMIT], script[PATH_LIMIT];
  struct text script_text = text_in(script, sizeof script);
  text_add(&script_text, root);
  text_add(&script_text, "/dist/cli/main.js");
  usize count = 0;
  node_arguments[count++] = "node";
  node_arguments[count++] = script;
  for (int i = 1; i < argument_count; i += 1) {
    if (count > MAX_NODE_ARGUMENTS) break;
    node_arguments[count++] = arguments[i];
  }
  node_arguments[count] = NULL;

  const char *path = variable_of(environment, "PATH");
  if (path == NULL) path = "/usr/local/bin:/usr/bin:/bin";
  /* BERTH_ROOT was set for this program only. */
  char **kept = environment;
  for (char **variable = environment; *variable != NULL; variable += 1)
    if (!text_starts(*variable, "BERTH_ROOT=")) *kept++ = *variable;
  *kept = NULL;
  if (argument_count < MAX_NODE_ARGUMENTS && !script_text.full)
    while (*path != 0) {
      usize part = 0;
      while (path[part] != 0 && path[part] != ':') part += 1;
      struct text text = text_in(program, sizeof program);
      text_add_bytes(&text, part > 0 ? path : ".", part > 0 ? part : 1);
      text_add(&text, "/node");
      if (!text.full) sys_execve(program, node_arguments, environment);
      path += part + (path[part] == ':');
    }
  const char *why = argument_count < MAX_NODE_ARGUMENTS ? "berth: the program `node` is not on the PATH\n"
                                                        : "berth: there are too many arguments\n";
  write_all(2, why, strlen(why));
  sys_exit(127);
}

/* ------------------------------------------------------------------------------------------------- the request */

static void add_folder(struct text *path, const char *folder, const char *below) {
  text_add(path, folder);
  text_add(path, below);
}

/* Where src/daemon/settings.ts says that the socket is. */
static int find_socket(char *path, usize size) {
  struct text text = text_in(path, size);
  const char *sockets = variable_of(environment, "BERTH_SOCKET_DIRECTORY");
  const char *berth_home = variable_of(environment, "BERTH_HOME");
  const char *runtime = variable_of(environment, "XDG_RUNTIME_DIR");
  const char *data = variable_of(environment, "XDG_DATA_HOME");
  const char *home = variable_of(environment, "HOME");
  if (sockets != NULL && *sockets != 0) add_folder(&text, sockets, "");
  else if (berth_home != NULL && *berth_home != 0) add_folder(&text, berth_home, "/run");
  else if (SYS0(__NR_getuid) == 0) add_folder(&text, "/run/berth", "");
  else if (runtime != NULL && *runtime != 0) add_folder(&text, runtime, "/berth");
  else if (data != NULL && *data != 0) add_folder(&text, data, "/berth/run");
  else if (home != NULL && *home != 0) add_folder(&text, home, "/.local/share/berth/run");
  else return -1;
  text_add(&text, "/hot.sock");
  /* A relative folder is an error that the Node command words. */
  return text.full || path[0] != '/' ? -1 : 0;
}

static int is_separator(char c) { return c == ' ' || c == ',' || c == '\t' || c == '\n'; }

/* Whether `list` (words by blanks or commas apart) has the name of the variable. */
static int is_listed(const char *list, const char *variable) {
  while (*list != 0) {
    while (is_separator(*list)) list += 1;
    usize length = 0;
    while (list[length] != 0 && !is_separator(list[length])) length += 1;
    usize at = 0;
    while (at < length && variable[at] == list[at]) at += 1;
    if (length > 0 && at == length && variable[at] == '=') return 1;
    list += length;
  }
  return 0;
}

/* The daemon gets what settings follow from and what a config may read, not all that this shell has. */
static int is_sent(const char *variable, const char *passed) {
  static const char *const names[] = {"HOME=", "TERM=", "NO_COLOR="};
  if (text_starts(variable, "BERTH_ROOT=")) return 0;
  if (text_starts(variable, "BERTH_") || text_starts(variable, "XDG_")) return 1;
  for (usize i = 0; i < COUNT_OF(names); i += 1)
    if (text_starts(variable, names[i])) return 1;
  return passed != NULL && is_listed(passed, variable);
}

static void add_with_end(struct text *text, const char *more) { text_add_bytes(text, more, strlen(more) + 1); }

/* Writes the whole request into `buffer`. Returns its length, or -1 when it does not fit. */
static long make_request(char *buffer, usize size, const char *root) {
  char build[BUILD_LIMIT + 1], path[PATH_LIMIT];
  struct text build_path = text_in(path, sizeof path);
  add_folder(&build_path, root, "/dist/.built");
  long length = build_path.full ? -1 : read_file(path, build, BUILD_LIMIT);
  if (length <= 0) return -1;
  build[length] = 0;

  struct hot_header header = {.version = HOT_VERSION, .argument_count = (u16)(argument_count - 1)};
  for (int fd = 0; fd < 3; fd += 1) header.terminals |= (u8)(is_terminal(fd) << fd);
  u16 columns = 0, rows = 0;
  terminal_size(1, &columns, &rows);
  header.columns = columns;
  header.rows = rows;

  struct text text = text_in(buffer, size);
  text_add_bytes(&text, "     ", FRAME_HEADER);
  text_add_bytes(&text, (char *)&header, sizeof header);
  add_with_end(&text, build);
  length = SYS2(__NR_getcwd, path, sizeof path);
  if (length <= 0 || path[0] != '/') return -1;
  add_with_end(&text, path);
  for (int i = 1; i < argument_count; i += 1) add_with_end(&text, arguments[i]);
  const char *passed = variable_of(environment, "BERTH_EVALUATION_PASS_ENV");
  for (char **variable = environment; *variable != NULL; variable += 1)
    if (is_sent(*variable, passed)) {
      add_with_end(&text, *variable);
      header.variable_count += 1;
    }
  if (text.full) return -1;
  memcpy(buffer + FRAME_HEADER, &header, sizeof header);
  put_header((u8 *)buffer, HOT_REQUEST, (u32)(text.length - FRAME_HEADER));
  return (long)text.length;
}

/* -------------------------------------------------------------------------------------------------- the answer */

/* Returns 0 when all came, else -1. */
static int read_exactly(int fd, void *buffer, usize size) {
  u8 *at = buffer;
  while (size > 0) {
    long got = sys_read(fd, at, size);
    if (got == -EINTR) continue;
    if (got <= 0) return -1;
    at += got;
    size -= (usize)got;
  }
  return 0;
}

/* Copies a frame's payload to standard output or error. A reader that has gone (`berth ps | head`) is no error. */
static int copy_payload(int from, int to, u32 length) {
  static char chunk[64 * 1024];
  while (length > 0) {
    usize part = length < sizeof chunk ? length : sizeof chunk;
    if (read_exactly(from, chunk, part) < 0) return -1;
    long failed = write_all(to, chunk, part);
    if (failed < 0) sys_exit(failed == -EPIPE ? 0 : 74);
    length -= (u32)part;
  }
  return 0;
}

/* Takes a text off the payload, or returns NULL where there is none. */
static char *take_text(u8 **at, const u8 *end) {
  u8 *text = *at;
  for (u8 *scan = text; scan < end; scan += 1)
    if (*scan == 0) {
      *at = scan + 1;
      return (char *)text;
    }
  return NULL;
}

/* Returns the exit code, or a negative number when the Node command is to do it. */
static int attach_as_told(int daemon, u32 length) {
  static u8 payload[MAX_REQUEST + 2 * PATH_LIMIT];
  if (length < 1 || length > sizeof payload || read_exactly(daemon, payload, length) < 0) return -1;
  u8 *at = payload + 1;
  const u8 *end = payload + length;
  struct attachment attachment = {.lost_code = payload[0]};
  attachment.lost_text = take_text(&at, end);
  attachment.agent_socket = attachment.lost_text == NULL ? NULL : take_text(&at, end);
  if (attachment.agent_socket == NULL || (usize)(end - at) < sizeof(struct run_header)) return -1;
  attachment.request = at;
  attachment.request_length = (u32)(end - at);
  /* The connection to the daemon stays open meanwhile: when this process ends, however it does, the daemon sees it and
   * removes a berth that was made for the command. */
  return attach(&attachment);
}

/* Returns the exit code, or a negative number when the Node command is to do it. */
static int follow_answer(int daemon) {
  int printed = 0;
  for (;;) {
    u8 header[FRAME_HEADER], code;
    if (read_exactly(daemon, header, sizeof header) < 0) break;
    u32 length = get_u32(header + 1);
    switch (header[0]) {
      case HOT_STDOUT:
      case HOT_STDERR:
        if (!printed) {
          /* From here on this process does not become another, which would inherit the mask. */
          unsigned long pipe = signal_bit(SIGPIPE);
          sys_sigmask(SIG_BLOCK, &pipe);
        }
        printed = 1;
        if (copy_payload(daemon, header[0] == HOT_STDOUT ? 1 : 2, length) < 0) break;
        continue;
      case HOT_EXIT:
        if (length != 1 || read_exactly(daemon, &code, 1) < 0) break;
        return code;
      case HOT_ATTACH:
        if (printed) break;
        return attach_as_told(daemon, length);
      default:
        break;
    }
    break;
  }
  if (!printed) return -1;
  const char *why = "berth: the daemon went away during its answer\n";
  write_all(2, why, strlen(why));
  sys_exit(75);
}

static int run(int argc, char **argv, char **envp) {
  static char request[MAX_REQUEST], path[PATH_LIMIT];
  arguments = argv;
  argument_count = argc;
  environment = envp;
  const char *root = variable_of(envp, "BERTH_ROOT");
  if (root == NULL) {
    const char *why = "berth-hot: is started by the command berth\n";
    write_all(2, why, strlen(why));
    return 2;
  }
  /* What is opened below must not be taken for a standard stream. */
  int fd;
  do fd = (int)sys_open("/dev/null", O_RDWR, 0);
  while (fd >= 0 && fd < 3);
  if (fd > 2) sys_close(fd);
  if (find_socket(path, sizeof path) < 0 || argc > MAX_NODE_ARGUMENTS) fall_back(root);
  int daemon = connect_to(path);
  if (daemon < 0) fall_back(root);
  long length = make_request(request, sizeof request, root);
  int code = -1;
  if (length > 0 && send_with_descriptors(daemon, request, (usize)length, NULL, 0) == 0) code = follow_answer(daemon);
  if (code >= 0) return code;
  sys_close(daemon);
  fall_back(root);
}
