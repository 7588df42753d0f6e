/* Which environment a command has: see src/materialise/generation.ts for the folders. */
#include "agent.h"

void add_generation_folder(struct text *path, const char *number) {
  text_add(path, RUN_DIRECTORY "/" GENERATION_PREFIX);
  text_add(path, number);
}

void environment_folder(char *path, usize size) {
  char target[64];
  struct text text = text_in(path, size);
  text_add(&text, RUN_DIRECTORY);
  long length = sys_readlinkat(AT_FDCWD, CURRENT_LINK, target, sizeof target - 1);
  if (length <= 0) return;
  target[length] = 0;
  if (!text_starts(target, GENERATION_PREFIX)) return;
  text_add(&text, "/");
  text_add(&text, target);
}
