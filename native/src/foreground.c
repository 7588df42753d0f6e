/* `agent --foreground [CMD…]`: the entrypoint of an image that is run without Berth. The command gets the environment
 * that lies in the image, as in a berth, over it the variables that the agent itself was started with. The agent hands
 * signals on, reaps, and ends as the command does. */
#include "agent.h"

static int exit_code(int status) {
  u8 kind, value;
  read_wait_status(status, &kind, &value);
  return kind ? 128 + value : value;
}

/* Those that say something about this process itself. */
static int is_own(u32 signal) {
  return signal == SIGCHLD || signal == SIGTTIN || signal == SIGTTOU || signal == SIGPIPE;
}

static void fill_request(struct run_request *request, int argc, char **argv, char **environment, int terminal) {
  usize variables = 0;
  for (int i = 0; i < argc; i += 1) request->arguments[i] = argv[i];
  request->arguments[argc] = NULL;
  while (environment[variables] != NULL && variables < MAX_VARIABLES) {
    request->variables[variables] = environment[variables];
    variables += 1;
  }
  request->variables[variables] = NULL;
  /* The folder is the one that the engine has chosen: the image's, or that of `docker run -w`. */
  request->directory = ".";
  request->header = (struct run_header){.version = PROTOCOL_VERSION,
                                        .flags = (u16)(RUN_ENVIRONMENT | RUN_HOOK | (terminal ? RUN_TTY : 0)),
                                        .uid = NO_ID,
                                        .gid = NO_ID,
                                        .argument_count = (u16)argc,
                                        .variable_count = (u16)variables};
}

void run_foreground(int argc, char **argv, char **environment) {
  static struct run_request request;
  struct termios settings;
  if (argc > MAX_ARGUMENTS) {
    const char *why = "berth: too many arguments\n";
    write_all(2, why, strlen(why));
    sys_exit(126);
  }
  int terminal = sys_ioctl(0, TCGETS, &settings) == 0;
  fill_request(&request, argc, argv, environment, terminal);
  link_etc();
  /* Under another init there is nothing to hand on and nothing to reap. */
  if (SYS0(__NR_getpid) != 1) become_command(&request);

  unsigned long all = ~0ul;
  sys_sigmask(SIG_SETMASK, &all);
  int signals = (int)sys_signalfd(&all);
  /* Suspended until the child has become the command, so that a signal to its group cannot miss it. */
  int child = (int)SYS(__NR_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0, 0);
  if (child == 0) {
    SYS2(__NR_setpgid, 0, 0);
    int group = (int)SYS0(__NR_getpid);
    /* So that Ctrl-C and reading reach the command. SIGTTOU is blocked here. */
    if (terminal) sys_ioctl(0, TIOCSPGRP, &group);
    unsigned long none = 0;
    sys_sigmask(SIG_SETMASK, &none);
    become_command(&request);
  }
  if (child < 0 || signals < 0) {
    const char *why = "berth: no process can be started in the container\n";
    write_all(2, why, strlen(why));
    sys_exit(126);
  }
  for (;;) {
    int status;
    long pid;
    while ((pid = sys_wait(-1, &status, WNOHANG)) > 0 || pid == -EINTR)
      if (pid == child) sys_exit(exit_code(status)); /* and with PID 1 go all others */
    struct pollfd poll = {signals, POLLIN, 0};
    if (sys_poll(&poll, 1, NULL) < 0) continue;
    struct signalfd_siginfo info;
    while (sys_read(signals, &info, sizeof info) == sizeof info) {
      if (is_own(info.ssi_signo)) continue;
      sys_kill(-child, (int)info.ssi_signo);
      /* An interactive shell ignores SIGTERM and goes by SIGHUP. */
      if (info.ssi_signo == SIGTERM && terminal) sys_kill(-child, SIGHUP);
    }
  }
}
