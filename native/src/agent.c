/* The agent: PID 1 of every berth. It reaps, stops the berth in order, runs the berth's command, and gives each
 * connection to /run/berth/agent.sock a process of its own. docs/agent.md says what it is for. */
#include "agent.h"
#include "start.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#define DEFAULT_GRACE_MS 10000
#define REFUSED_COUNT 16

static int signals;
static int control[2]; /* control[1] is the connections' end */
static int supervisor = -1, supervisor_ended;

static int command_state(void) { return supervisor < 0 ? 0 : supervisor_ended ? 2 : 1; }

/* Returns whether any child is left. */
static int reap(void) {
  int status;
  for (;;) {
    long pid = sys_wait(-1, &status, WNOHANG);
    if (pid == -EINTR) continue;
    if (pid <= 0) return pid == 0;
    if (pid == supervisor) supervisor_ended = 1;
  }
}

/* Ends all processes of the container, then the container. */
__attribute__((noreturn)) static void stop(int socket, long grace_ms) {
  sys_unlinkat(AT_FDCWD, AGENT_SOCKET, 0);
  sys_close(socket);
  long deadline = now_ms() + grace_ms;
  sys_kill(-1, SIGTERM);
  sys_kill(-1, SIGCONT);
  while (reap()) {
    long left = deadline - now_ms();
    if (left <= 0) break;
    struct time_spec timeout = {left / 1000, left % 1000 * 1000000};
    struct pollfd poll = {signals, POLLIN, 0};
    struct signalfd_siginfo info;
    if (sys_poll(&poll, 1, &timeout) > 0)
      while (sys_read(signals, &info, sizeof info) == sizeof info) continue;
  }
  if (supervisor >= 0 && !supervisor_ended) {
    /* It is about to be killed with the command that did not want to go. */
    struct stat status;
    if (sys_fstatat(AT_FDCWD, EXIT_FILE, &status, 0) == -ENOENT) write_exit_file(128 + SIGKILL);
  }
  sys_kill(-1, SIGKILL);
  int status;
  while (sys_wait(-1, &status, 0) != -ECHILD) continue;
  sys_exit(0);
}

/* Starts the berth's own command, if it has one. */
static void begin_command(int socket) {
  struct stat status;
  if (supervisor >= 0 || sys_fstatat(AT_FDCWD, COMMAND_FILE, &status, 0) != 0) return;
  int pid = (int)sys_fork();
  if (pid == 0) {
    sys_close(socket);
    sys_close(control[0]);
    sys_close(control[1]);
    supervise_command(signals);
  }
  if (pid > 0) supervisor = pid;
}

/* What came over a connection and is the first process's to do. The connection of a stop stays open until the container
 * is gone. */
static void do_as_asked(int socket) {
  u8 asked[4];
  int connection[MAX_PASSED];
  usize count;
  long got = receive_with_descriptors(control[0], asked, sizeof asked, connection, &count);
  if (got <= 0) return;
  if (got == 1) begin_command(socket);
  if (count > 0) send_frame(connection[0], FRAME_OK, NULL, 0);
  if (got == sizeof asked) stop(socket, (long)get_u32(asked));
  if (count > 0) sys_close(connection[0]);
}

static int listen_for_clients(void) {
  struct sockaddr_un address = {AF_UNIX, AGENT_SOCKET ".new"};
  sys_unlinkat(AT_FDCWD, address.sun_path, 0);
  int fd = (int)sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SYS1(__NR_umask, 0177);
  /* Under its own name only once it listens: whoever sees it appear can connect. */
  if (fd < 0 || SYS3(__NR_bind, fd, &address, sizeof address) < 0 || SYS2(__NR_listen, fd, 256) < 0 ||
      sys_rename(AGENT_SOCKET ".new", AGENT_SOCKET) < 0) {
    const char *why = "berth agent: cannot listen on " AGENT_SOCKET "\n";
    write_all(2, why, strlen(why));
    sys_exit(70);
  }
  SYS1(__NR_umask, 022);
  return fd;
}

/* Connections that got no process. A client may still be writing its request, and would not read the reason if that
 * failed: so it is the client that closes, and these are read until then. The newest push out the oldest. */
static int refused[REFUSED_COUNT];
static usize next_refused;

static void refuse(int connection) {
  const char *why = "no process can be started in the container: its limit of processes is reached";
  send_frame(connection, FRAME_ERROR, why, (u32)strlen(why));
  set_nonblocking(connection, 1);
  if (refused[next_refused] >= 0) sys_close(refused[next_refused]);
  refused[next_refused] = connection;
  next_refused = (next_refused + 1) % REFUSED_COUNT;
}

static void read_refused(usize index) {
  char rest[4096];
  long got = sys_read(refused[index], rest, sizeof rest);
  if (got > 0 || got == -EAGAIN || got == -EINTR) return;
  sys_close(refused[index]);
  refused[index] = -1;
}

static void accept_client(int socket) {
  long connection = SYS4(__NR_accept4, socket, NULL, NULL, SOCK_CLOEXEC);
  if (connection < 0) return;
  int state = command_state();
  long pid = sys_fork();
  if (pid == 0) {
    sys_close(socket);
    sys_close(control[0]);
    serve_connection((int)connection, signals, control[1], state);
  }
  if (pid < 0) refuse((int)connection);
  else sys_close((int)connection);
}

/* Lets go of the runtime's standard streams, which would keep its caller's pipes open. */
static void leave_runtime(void) {
  int null = (int)sys_open("/dev/null", O_RDWR | O_CLOEXEC, 0);
  for (int fd = 0; null >= 0 && fd < 3; fd += 1) sys_dup3(null, fd, 0);
  if (null > 2) sys_close(null);
}

/* Installs the filter of system calls on this process, and so on all that will ever run in the container. A container
 * without it must not run at all. */
static void install_seccomp_filter(void) {
  static struct sock_filter instructions[4096];
  long size = read_file(SECCOMP_FILTER, (char *)instructions, sizeof instructions);
  struct sock_fprog program = {(u16)(size / (long)sizeof instructions[0]), instructions};
  if (size > 0 && size % (long)sizeof instructions[0] == 0 &&
      SYS(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0) == 0 &&
      SYS3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0)
    return;
  const char *why = "berth agent: the filter of system calls cannot be installed\n";
  write_all(2, why, strlen(why));
  sys_exit(70);
}

static const char *base_name(const char *path) {
  const char *name = path;
  for (; *path != 0; path += 1)
    if (*path == '/') name = path + 1;
  return name;
}

static int run(int argc, char **argv, char **environment) {
  if (argc > 0 && text_equal(base_name(argv[0]), "berth")) return inside(argc, argv, environment);
  if (argc > 2 && text_equal(argv[1], "--exec")) exec_on_path(argv + 2, environment);
  if (argc > 1 && text_equal(argv[1], "--foreground")) run_foreground(argc - 2, argv + 2, environment);
  if (argc > 1 && text_equal(argv[1], "--print-variables")) return print_variables(environment);
  if (SYS0(__NR_getpid) != 1) {
    const char *why = "berth agent: runs as the first process of a container only\n";
    write_all(2, why, strlen(why));
    return 2;
  }
  if (argc > 1 && text_equal(argv[1], "--seccomp")) install_seccomp_filter();
  /* All signals are blocked and the few that matter read from a descriptor: no handlers, no races. Commands get an
   * empty mask again. */
  unsigned long all = ~0ul;
  unsigned long mine = signal_bit(SIGCHLD) | signal_bit(SIGTERM) | signal_bit(SIGINT);
  sys_sigmask(SIG_SETMASK, &all);
  SYS3(__NR_close_range, 3, ~0u, 0);
  signals = (int)sys_signalfd(&mine);
  SYS1(__NR_umask, 022);
  SYS1(__NR_chdir, "/");
  sys_unlinkat(AT_FDCWD, EXIT_FILE, 0);
  link_etc();
  int socket = listen_for_clients();
  leave_runtime();
  if (SYS4(__NR_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0) sys_exit(70);

  begin_command(socket);
  for (usize i = 0; i < REFUSED_COUNT; i += 1) refused[i] = -1;
  for (;;) {
    struct pollfd polls[3 + REFUSED_COUNT] = {{signals, POLLIN, 0}, {socket, POLLIN, 0}, {control[0], POLLIN, 0}};
    for (usize i = 0; i < REFUSED_COUNT; i += 1) polls[3 + i] = (struct pollfd){refused[i], POLLIN, 0};
    if (sys_poll(polls, COUNT_OF(polls), NULL) < 0) continue;
    struct signalfd_siginfo info;
    while (polls[0].revents && sys_read(signals, &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGCHLD) reap();
      else stop(socket, DEFAULT_GRACE_MS);
    }
    if (polls[2].revents) do_as_asked(socket);
    for (usize i = 0; i < REFUSED_COUNT; i += 1)
      if (polls[3 + i].revents) read_refused(i);
    if (polls[1].revents) accept_client(socket);
  }
}
