/* The few helpers that a C library would give: memory, text, whole reads and writes. */
#ifndef BERTH_LIB_H
#define BERTH_LIB_H

#include "sys.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

void *memcpy(void *to, const void *from, usize size);
void *memmove(void *to, const void *from, usize size);
void *memset(void *to, int value, usize size);
int memcmp(const void *a, const void *b, usize size);
usize strlen(const char *text);

int text_equal(const char *a, const char *b);
int text_starts(const char *text, const char *prefix);

/* Text that is put together in a buffer of fixed size. Once something did not fit, `full` stays set and the text is
 * what fitted, so a caller checks once at the end. It is always terminated. */
struct text {
  char *start;
  usize size;
  usize length;
  int full;
};
struct text text_in(char *buffer, usize size);
void text_add(struct text *text, const char *more);
void text_add_bytes(struct text *text, const char *more, usize length);
void text_add_number(struct text *text, unsigned long number);

/* Writes all of it, waiting where the other side is slow. Returns 0, or a negative error number. */
long write_all(int fd, const void *data, usize size);
/* Reads a whole file of at most `size` bytes. Returns its length, or a negative error number (-EFBIG). */
long read_file(const char *path, char *buffer, usize size);
/* Milliseconds since some fixed point. */
long now_ms(void);
/* The value of a variable in an array of K=V, or NULL. */
const char *variable_of(char *const *environment, const char *name);
/* Sets or clears O_NONBLOCK. */
void set_nonblocking(int fd, int on);

#endif
