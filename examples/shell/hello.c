#include <stdio.h>

int main(void) {
  puts("compiled in a berth");
  return 0;
}
