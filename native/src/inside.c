/* `berth` in a berth: asks the daemon through the agent (host.c), and prints what a shell has to do to take the
 * environment that the berth has now (reload.c). The agent's program under another name. */
#include "agent.h"

static const char usage[] =
    "Usage: berth COMMAND, in a berth\n"
    "\n"
    "  add PACKAGE...         write packages into the project's config, and have them here\n"
    "  remove PACKAGE...      take packages out of it\n"
    "  history [--json]       the environments that this berth had\n"
    "  rollback [--to N]      have an earlier one again; the config stays as it is\n"
    "  reload                 let this shell have the environment that the berth has now\n"
    "\n"
    "Shells tell when there is another environment; with BERTH_RELOAD=auto they take it by themselves at the next\n"
    "prompt, with BERTH_RELOAD=off they say nothing.\n";

static int complain(const char *what, int code) {
  write_all(2, "berth: ", 7);
  write_all(2, what, strlen(what));
  write_all(2, "\n", 1);
  return code;
}

static int read_whole(int fd, u8 *to, usize size) {
  for (usize have = 0; have < size;) {
    long got = sys_read(fd, to + have, size - have);
    if (got == -EINTR) continue;
    if (got <= 0) return -1;
    have += (usize)got;
  }
  return 0;
}

static int ask_host(int count, char **words) {
  static char question[MAX_FRAME];
  static u8 answer[FRAME_HEADER + MAX_FRAME];
  struct text text = text_in(question, sizeof question);
  usize length = 0;
  for (int i = 0; i < count; i += 1) {
    text_add(&text, words[i]);
    /* The NUL that ends each is one of the text's bytes. */
    if (text.full || text.length + 1 >= sizeof question) return complain("the command line is too long", 2);
    text_add_bytes(&text, "", 1);
    length = text.length;
  }
  int connection = connect_to(HOST_SOCKET);
  if (connection < 0)
    return complain("no daemon of Berth's listens here now; any `berth` command on the host starts one, `berth ps` "
                    "for example",
                    69);
  if (send_frame(connection, FRAME_ASK, question, (u32)length) < 0) return complain("the daemon went away", 70);
  for (;;) {
    if (read_whole(connection, answer, FRAME_HEADER) < 0) break;
    u32 size = get_u32(answer + 1);
    if (size > MAX_FRAME || read_whole(connection, answer + FRAME_HEADER, size) < 0) break;
    if (answer[0] == FRAME_STDOUT) write_all(1, answer + FRAME_HEADER, size);
    else if (answer[0] == FRAME_STDERR) write_all(2, answer + FRAME_HEADER, size);
    else if (answer[0] == FRAME_EXIT && size == 2) return answer[FRAME_HEADER + 1];
  }
  return complain("the daemon went away", 70);
}

int inside(int argc, char **argv, char **environment) {
  const char *verb = argc > 1 ? argv[1] : "--help";
  if (text_equal(verb, "--help") || text_equal(verb, "-h") || text_equal(verb, "help")) {
    write_all(1, usage, sizeof usage - 1);
    return 0;
  }
  if (text_equal(verb, "reload")) {
    if (argc == 4 && text_equal(argv[2], "--lines")) return reload_lines(argv[3], environment);
    return complain("a program can't change the shell that it is started from; in this shell, run\n"
                    "  eval \"$(berth reload --lines sh)\"",
                    2);
  }
  return ask_host(argc - 1, argv + 1);
}
