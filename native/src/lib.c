/* The few helpers that a C library would give. See lib.h. */
#include "lib.h"

void *memcpy(void *to, const void *from, usize size) {
#if defined(__x86_64__)
  void *result = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return result;
#else
  u8 *out = to;
  const u8 *in = from;
  while (size-- > 0) *out++ = *in++;
  return to;
#endif
}

void *memmove(void *to, const void *from, usize size) {
  u8 *out = to;
  const u8 *in = from;
  if (out <= in || out >= in + size) return memcpy(to, from, size);
  while (size-- > 0) out[size] = in[size];
  return to;
}

void *memset(void *to, int value, usize size) {
  u8 *out = to;
  while (size-- > 0) *out++ = (u8)value;
  return to;
}

int memcmp(const void *a, const void *b, usize size) {
  const u8 *x = a;
  const u8 *y = b;
  for (usize i = 0; i < size; i += 1)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

usize strlen(const char *text) {
  usize length = 0;
  while (text[length] != 0) length += 1;
  return length;
}

int text_equal(const char *a, const char *b) {
  while (*a != 0 && *a == *b) a += 1, b += 1;
  return *a == *b;
}

int text_starts(const char *text, const char *prefix) {
  while (*prefix != 0)
    if (*text++ != *prefix++) return 0;
  return 1;
}

struct text text_in(char *buffer, usize size) {
  buffer[0] = 0;
  return (struct text){buffer, size, 0, 0};
}

void text_add_bytes(struct text *text, const char *more, usize length) {
  usize room = text->size - 1 - text->length;
  if (length > room) {
    length = room;
    text->full = 1;
  }
  memcpy(text->start + text->length, more, length);
  text->length += length;
  text->start[text->length] = 0;
}

void text_add(struct text *text, const char *more) { text_add_bytes(text, more, strlen(more)); }

void text_add_number(struct text *text, unsigned long number) {
  char digits[20];
  usize at = sizeof digits;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  text_add_bytes(text, digits + at, sizeof digits - at);
}

long write_all(int fd, const void *data, usize size) {
  const char *at = data;
  while (size > 0) {
    long written = sys_write(fd, at, size);
    if (written == -EINTR) continue;
    if (written == -EAGAIN) {
      struct pollfd wait = {fd, POLLOUT, 0};
      sys_poll(&wait, 1, NULL);
      continue;
    }
    if (written < 0) return written;
    at += written;
    size -= (usize)written;
  }
  return 0;
}

long read_file(const char *path, char *buffer, usize size) {
  int fd = (int)sys_open(path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  usize length = 0;
  long got;
  /* One byte more than fits is asked for at the end, to tell "exactly full" from "too long". */
  char over;
  for (;;) {
    got = length < size ? sys_read(fd, buffer + length, size - length) : sys_read(fd, &over, 1);
    if (got == -EINTR) continue;
    if (got <= 0) break;
    if (length == size) {
      got = -EFBIG;
      break;
    }
    length += (usize)got;
  }
  sys_close(fd);
  return got < 0 ? got : (long)length;
}

long now_ms(void) {
  struct time_spec time;
  sys_clock(&time);
  return time.seconds * 1000 + time.nanoseconds / 1000000;
}

const char *variable_of(char *const *environment, const char *name) {
  usize length = strlen(name);
  for (; *environment != NULL; environment += 1)
    if (text_starts(*environment, name) && (*environment)[length] == '=') return *environment + length + 1;
  return NULL;
}

void set_nonblocking(int fd, int on) {
  long flags = sys_fcntl(fd, F_GETFL, 0);
  if (flags >= 0) sys_fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}
