/* Unix sockets: connecting, and messages that carry file descriptors. */
#ifndef BERTH_SOCKET_H
#define BERTH_SOCKET_H

#include "protocol.h"

#define MAX_PASSED 3

/* Sends all the bytes; the descriptors go with the first of them. Returns 0, or a negative error number. */
long send_with_descriptors(int socket, const void *data, usize size, const int *descriptors, usize count);

/* Receives at most `size` bytes, and up to MAX_PASSED descriptors (close-on-exec). `*count` is how many came.
 * Returns the number of bytes, 0 at the end, or a negative error number. */
long receive_with_descriptors(int socket, void *data, usize size, int descriptors[MAX_PASSED], usize *count);

/* Sends one whole frame. Returns 0, or a negative error number. */
long send_frame(int socket, u8 type, const void *payload, u32 length);

/* Connects to a socket by its path. The last component is not followed where it is a symbolic link: the agent's socket
 * lies in a folder that the berth can write, and must not lead to another socket of the host.
 * Returns the descriptor, or a negative error number. */
int connect_to(const char *path);

#endif
