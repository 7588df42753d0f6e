/* The berth's own command: its output goes to a log of bounded size, its exit code to a file. */
#include "agent.h"

#define LOG_LIMIT (8 * 1024 * 1024)
#define LOG_FLAGS (O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC)

void write_exit_file(int code) {
  char line[24];
  struct text text = text_in(line, sizeof line);
  text_add_number(&text, (unsigned long)code);
  text_add(&text, "\n");
  sys_unlinkat(AT_FDCWD, EXIT_FILE ".new", 0);
  int fd = (int)sys_open(EXIT_FILE ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return;
  write_all(fd, line, text.length);
  sys_close(fd);
  sys_rename(EXIT_FILE ".new", EXIT_FILE);
}

static int log_fd = -1;
static usize log_length;

static void write_log(const char *data, usize size) {
  if (log_fd >= 0 && log_length + size > LOG_LIMIT) {
    sys_close(log_fd);
    log_fd = -1;
    sys_rename(LOG_FILE, LOG_FILE ".1");
  }
  if (log_fd < 0) {
    struct stat status;
    log_fd = (int)sys_open(LOG_FILE, LOG_FLAGS, 0644);
    log_length = log_fd >= 0 && sys_fstat(log_fd, &status) == 0 ? (usize)status.st_size : 0;
  }
  /* Where the log cannot be written (a full disk), the command still runs: its output is dropped. */
  if (log_fd >= 0 && write_all(log_fd, data, size) == 0) log_length += size;
}

/* The command file holds the arguments, each ended by NUL. */
static int load_command(struct run_request *request) {
  static char text[MAX_REQUEST];
  long length = read_file(COMMAND_FILE, text, sizeof text);
  if (length <= 0 || text[length - 1] != 0) return -1;
  usize count = 0;
  for (char *at = text; at < text + length; at += strlen(at) + 1) {
    if (count == MAX_ARGUMENTS) return -1;
    request->arguments[count++] = at;
  }
  request->header = (struct run_header){.version = PROTOCOL_VERSION,
                                        .flags = RUN_ENVIRONMENT | RUN_HOOK,
                                        .uid = NO_ID,
                                        .gid = NO_ID,
                                        .argument_count = (u16)count};
  request->directory = "";
  return 0;
}

void supervise_command(int signals) {
  static struct run_request request;
  static char buffer[32 * 1024];
  int ends[2];
  int status = 0, running = 1;
  if (load_command(&request) < 0 || sys_pipe(ends, O_CLOEXEC) < 0) {
    const char *why = "berth: the command cannot be started\n";
    write_log(why, strlen(why));
    write_exit_file(126);
    sys_exit(126);
  }
  int io[3] = {(int)sys_open("/dev/null", O_RDONLY | O_CLOEXEC, 0), ends[1], ends[1]};
  int child = spawn_command(&request, io, -1);
  sys_close(io[0]);
  sys_close(ends[1]);
  if (child < 0) {
    write_exit_file(126);
    sys_exit(126);
  }
  /* Until the last process that holds the pipe is gone: what the command leaves in the background logs on. */
  for (int open = 1; open || running;) {
    struct pollfd polls[2] = {{signals, POLLIN, 0}, {open ? ends[0] : -1, POLLIN, 0}};
    if (sys_poll(polls, 2, NULL) < 0) continue;
    struct signalfd_siginfo info;
    while (polls[0].revents && sys_read(signals, &info, sizeof info) == sizeof info) continue;
    if (polls[1].revents) {
      long got = sys_read(ends[0], buffer, sizeof buffer);
      if (got > 0) write_log(buffer, (usize)got);
      else if (got != -EINTR) open = 0;
    }
    if (running && sys_wait(child, &status, WNOHANG) == child) {
      u8 kind, value;
      running = 0;
      read_wait_status(status, &kind, &value);
      write_exit_file(kind ? 128 + value : value);
      struct stat present;
      if (sys_fstatat(AT_FDCWD, EXIT_WITH_COMMAND_FILE, &present, 0) == 0) sys_kill(1, SIGTERM);
    }
  }
  sys_exit(0);
}
