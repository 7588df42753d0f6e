/* The entry point: the kernel leaves argc, argv and the environment on the stack. Include it once in a program. */
#ifndef BERTH_START_H
#define BERTH_START_H

#include "lib.h"

static int run(int argc, char **argv, char **environment);

__attribute__((noreturn, used)) static void start(long *stack) {
  int argc = (int)stack[0];
  char **argv = (char **)(stack + 1);
  sys_exit(run(argc, argv, argv + argc + 1));
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call start\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n  mov x29, #0\n  mov x0, sp\n  bl start\n");
#endif

#endif
