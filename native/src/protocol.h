/* The agent's protocol: what the host's clients (berth-hot, src/engine/agent/agent-client.ts) and the agent say to each
 * other over /run/berth/agent.sock. docs/agent.md explains it; src/engine/agent/protocol.ts is its twin.
 *
 * A frame is: u8 type, u32 length (little endian), payload. One connection carries one request.
 * All numbers are little endian, which both supported architectures are. */
#ifndef BERTH_PROTOCOL_H
#define BERTH_PROTOCOL_H

#include "lib.h"

#define PROTOCOL_VERSION 1
#define FRAME_HEADER 5
#define MAX_REQUEST (1024 * 1024)
#define MAX_FRAME (32 * 1024)
/* Bytes of one stream that may be under way before its reader has said that it took some. */
#define STREAM_WINDOW (256 * 1024)

/* Requests, client to agent; the first frame of a connection. */
#define FRAME_RUN 'R'
#define FRAME_PING 'P'
#define FRAME_REFRESH 'L' /* nothing: the view was switched; u32 generation: it is about to be */
#define FRAME_BEGIN 'B' /* the berth's own command, where it has not begun */
#define FRAME_CONNECT 'C' /* u16 port */
#define FRAME_STOP 'K'    /* u32 grace in milliseconds */
#define FRAME_HOST 'H'    /* the daemon takes what commands in the berth ask */

/* On a connection of the daemon's after FRAME_HOST, and on that of the command that asks: the question, answered by
 * FRAME_STDOUT, FRAME_STDERR and at last FRAME_EXIT. */
#define FRAME_ASK 'Q'    /* arguments, each ended by NUL */
#define FRAME_CANCEL 'c' /* who asked has gone */

/* Client to agent, while a command runs. */
#define FRAME_STDIN 'I'
#define FRAME_STDIN_END 'i'
#define FRAME_SIGNAL 'G' /* u8 signal number */
#define FRAME_RESIZE 'Z' /* u16 columns, u16 rows */
#define FRAME_WINDOW 'W' /* u8 stream (0, 1, 2), u32 bytes taken; both directions */

/* Agent to client. */
#define FRAME_STDOUT 'O'
#define FRAME_STDERR 'E'
#define FRAME_STARTED 'S' /* u32 pid inside; with a terminal by descriptor: the master as SCM_RIGHTS */
#define FRAME_EXIT 'X'    /* u8 kind (0 code, 1 signal), u8 value; the last frame */
#define FRAME_OK 'k'
#define FRAME_PONG 'p'  /* u8 version, u8 command: 0 none, 1 running, 2 ended */
#define FRAME_ERROR 'e' /* text; the last frame */

/* Flags of a run request. */
#define RUN_TTY 1
#define RUN_DESCRIPTORS 2 /* stdin, stdout, stderr come as SCM_RIGHTS instead of as frames */
#define RUN_ENVIRONMENT 4 /* with the variables of /run/berth/environment */
#define RUN_HOOK 8        /* after sourcing /run/berth/hook */
#define RUN_DETACH 16     /* goes on when the client leaves */
#define RUN_NO_STDIN 32   /* stdin is /dev/null */
#define NO_ID 0xffffffffu

/* The fixed part of a run request, followed by NUL-terminated texts: cwd, then argv, then variables (K=V). */
struct run_header {
  u8 version;
  u8 reserved;
  u16 flags;
  u16 columns;
  u16 rows;
  u32 uid; /* NO_ID: the agent's own */
  u32 gid;
  u32 grace_ms; /* between SIGHUP and SIGKILL when the client leaves */
  u16 argument_count;
  u16 variable_count;
} __attribute__((packed));

static inline u32 get_u32(const u8 *at) {
  return (u32)at[0] | (u32)at[1] << 8 | (u32)at[2] << 16 | (u32)at[3] << 24;
}
static inline u16 get_u16(const u8 *at) { return (u16)(at[0] | at[1] << 8); }
static inline void put_u32(u8 *at, u32 value) {
  at[0] = (u8)value, at[1] = (u8)(value >> 8), at[2] = (u8)(value >> 16), at[3] = (u8)(value >> 24);
}
static inline void put_header(u8 *at, u8 type, u32 length) {
  at[0] = type;
  put_u32(at + 1, length);
}

#endif
