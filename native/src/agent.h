/* The agent's parts. agent.c is PID 1; each connection is a process of its own (session.c), so that one that fails or
 * waits harms no other. */
#ifndef BERTH_AGENT_H
#define BERTH_AGENT_H

#include "protocol.h"
#include "socket.h"

#define RUN_DIRECTORY "/run/berth"
#define AGENT_SOCKET RUN_DIRECTORY "/agent.sock"
#define HOST_SOCKET RUN_DIRECTORY "/host.sock"
#define CURRENT_LINK RUN_DIRECTORY "/current"
#define GENERATION_PREFIX "generation-"
#define COMMAND_FILE RUN_DIRECTORY "/command"
#define LOG_FILE RUN_DIRECTORY "/log"
#define EXIT_FILE RUN_DIRECTORY "/exit"
#define EXIT_WITH_COMMAND_FILE RUN_DIRECTORY "/exit-with-command"
#define FHS_ETC RUN_DIRECTORY "/fhs/etc"
#define DEFAULT_ETC "/berth/fhs/etc"
#define AGENT_PROGRAM "/berth/bin/agent"
#define BUSYBOX "/berth/bin/busybox"
#define SECCOMP_FILTER "/berth/etc/seccomp.bpf"
#define SHELL_RC "/berth/etc/shellrc"
#define FALLBACK_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/berth/fhs/usr/bin"

#define MAX_ARGUMENTS 8192
#define MAX_VARIABLES 4096

/* What is to be run. The texts belong to the buffer of the request. */
struct run_request {
  struct run_header header;
  char *directory;
  char *arguments[MAX_ARGUMENTS + 1];
  char *variables[MAX_VARIABLES + 1];
};

/* Fills `request` from a frame's payload, which must stay. Returns 0, or -EINVAL for one that is not well-formed. */
int parse_run_request(struct run_request *request, char *payload, usize length);

/* In a new process: applies user, folder and variables, and becomes the command; never returns. Standard input, output
 * and error are in place; what goes wrong is told on standard error, with the exit codes of a shell (126, 127). */
__attribute__((noreturn)) void become_command(struct run_request *request);

/* `agent --exec CMD…`: finds CMD on the PATH and becomes it. Used behind a hook. */
__attribute__((noreturn)) void exec_on_path(char *const *arguments, char *const *environment);

/* `agent --foreground [CMD…]`, PID 1 of a container that runs without Berth: see foreground.c. */
__attribute__((noreturn)) void run_foreground(int argc, char **argv, char **environment);

/* Finds a program on a PATH. Returns 0 with its path in `found` (4096 bytes), else -ENOENT, or -EACCES where one of that
 * name is not executable. */
long find_program(const char *name, const char *path, char *found);

/* Serves one connection, then ends the process. `control` leads to PID 1, which takes from it the grace time of a stop
 * (u32 milliseconds), or one byte to begin the command, with the connection that asked for it. */
__attribute__((noreturn)) void serve_connection(int connection, int signals, int control, int command_state);

/* Runs the berth's own command with its output in the log, then ends the process. */
__attribute__((noreturn)) void supervise_command(int signals);

/* Starts the request in a process of its own, in a session of its own. `terminal` is a pseudo terminal's slave, or -1.
 * `io` are the three descriptors when there is no terminal. Returns the pid, or a negative error number. */
int spawn_command(struct run_request *request, const int io[3], int terminal);

/* Opens a pseudo terminal of the container. Returns 0, or a negative error number. */
long open_terminal(int *master, int *slave, u16 columns, u16 rows);
void resize_terminal(int master, u16 columns, u16 rows);

/* Bridges the connection to a port on the container's loopback interface, then ends the process. */
__attribute__((noreturn)) void serve_port(int connection, u16 port);

/* Makes /etc show what the FHS view has there and /etc has not; removes links of an earlier view that lead nowhere. */
void link_etc(void);
/* The same for what a generation will have, before the switch to it: what is new is there in the moment of the switch.
 * Until then the links lead nowhere, as if the files were not there. */
void link_etc_ahead(u32 generation);

/* The folder of the environment that a command which starts now has: of the current generation, where there are
 * generations, else the berth's own. All that a command gets is read from the folder that this names once, so that it
 * is of one environment however the link is switched meanwhile. */
void environment_folder(char *path, usize size);
/* Adds the folder of a generation, by the text of its number. */
void add_generation_folder(struct text *path, const char *number);

/* Serves the commands in the berth that are for the daemon, over the daemon's own connection, until that ends. */
__attribute__((noreturn)) void serve_host(int connection);
/* `berth` in a berth. Returns the exit code. */
int inside(int argc, char **argv, char **environment);
/* `berth reload --lines SHELL`. Returns the exit code. */
int reload_lines(const char *shell, char **environment);
/* `agent --print-variables`: the variables that it has, each ended by NUL. Returns the exit code. */
int print_variables(char **environment);

/* Writes the exit code of the berth's command where the host looks for it. */
void write_exit_file(int code);
void read_wait_status(int status, u8 *kind, u8 *value);

#endif
