/* berth-hot: the command's way to the daemon without Node. What the two say to each other over hot.sock;
 * src/daemon/hot/protocol.ts is its twin. Frames are those of the agent's protocol: u8 type, u32 length (little
 * endian), payload. One connection carries one request. */
#ifndef BERTH_HOT_H
#define BERTH_HOT_H

#include "socket.h"

#define HOT_VERSION 1

/* Client to daemon: struct hot_header, then NUL-terminated texts: the client's build, the current folder, the
 * arguments without the program's name, variables (K=V). */
#define HOT_REQUEST 'Q'

/* Daemon to client. */
#define HOT_STDOUT 'P'
#define HOT_STDERR 'E'
#define HOT_EXIT 'X'      /* u8 exit code; the last frame */
#define HOT_FALL_BACK 'F' /* the Node command is to do it; the last frame */
#define HOT_ATTACH 'A'    /* u8 exit code and text for an agent that goes away, text agent's socket, run request */

struct hot_header {
  u8 version;
  u8 terminals; /* bit 0, 1, 2: standard input, output, error is a terminal */
  u16 columns;
  u16 rows;
  u16 argument_count;
  u16 variable_count;
} __attribute__((packed));

/* A command in a berth. */
struct attachment {
  const char *agent_socket;
  u8 *request; /* of struct run_header and its texts; the flag RUN_DESCRIPTORS is set here */
  u32 request_length;
  int lost_code;
  const char *lost_text;
};

/* Runs the command with this process's standard streams. Returns its exit code; or a negative number when it was not
 * started and nothing was read of standard input, so that another way can be tried. */
int attach(const struct attachment *attachment);

/* The user's terminal. */
int is_terminal(int fd);
/* Returns 0 with the size of the terminal, or a negative error number when it is none. */
long terminal_size(int fd, u16 *columns, u16 *rows);
/* Passes every key on as it is. Returns 0 when `restore_terminal` has something to undo. */
long make_terminal_raw(int fd);
void restore_terminal(void);

#endif
