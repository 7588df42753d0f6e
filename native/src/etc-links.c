/* /etc of the FHS view, shown in the container's own /etc by symbolic links. */
#include "agent.h"

#define MAX_DEPTH 8
#define PATH_LIMIT 4096

static u8 entries[MAX_DEPTH][8192];

static int is_directory(int at, const char *name) {
  struct stat status;
  return sys_fstatat(at, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && (status.st_mode & S_IFMT) == S_IFDIR;
}

static int is_dots(const char *name) { return text_equal(name, ".") || text_equal(name, ".."); }

/* Calls `visit` for each entry of a directory. The buffer is the depth's own, since visits go deeper. */
static void for_each_entry(int directory, int depth, void (*visit)(int directory, const char *name, void *context),
                           void *context) {
  for (;;) {
    long got = sys_getdents(directory, entries[depth], sizeof entries[depth]);
    if (got <= 0) return;
    for (long at = 0; at < got;) {
      struct directory_entry *entry = (struct directory_entry *)(entries[depth] + at);
      if (!is_dots(entry->name)) visit(directory, entry->name, context);
      at += entry->length;
    }
  }
}

struct cleaning {
  int depth;
};

static void clean_entry(int directory, const char *name, void *context) {
  struct cleaning *cleaning = context;
  char target[PATH_LIMIT];
  struct stat status;
  long length = sys_readlinkat(directory, name, target, sizeof target - 1);
  if (length > 0) {
    target[length] = 0;
    if (text_starts(target, FHS_ETC "/") && sys_fstatat(directory, name, &status, 0) == -ENOENT)
      sys_unlinkat(directory, name, 0);
    return;
  }
  if (cleaning->depth + 1 >= MAX_DEPTH || !is_directory(directory, name)) return;
  int inner = (int)sys_openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (inner < 0) return;
  struct cleaning deeper = {cleaning->depth + 1};
  for_each_entry(inner, deeper.depth, clean_entry, &deeper);
  sys_close(inner);
}

struct linking {
  int depth;
  int etc;            /* the container's folder */
  const char *prefix; /* path of the view's folder, as the links say it */
  int ahead;          /* of a view that is not the current one yet */
};

/* Whether the entry is a link to the minimal image's own file, which any view's takes the place of. */
static int is_default(int etc, const char *name) {
  char target[PATH_LIMIT];
  long length = sys_readlinkat(etc, name, target, sizeof target - 1);
  if (length <= 0) return 0;
  target[length] = 0;
  return text_starts(target, DEFAULT_ETC "/");
}

/* By a rename, so that there is no moment without the file. */
static void replace_link(const char *target, const char *name) {
  char path[PATH_LIMIT];
  struct text text = text_in(path, sizeof path);
  text_add(&text, "/etc/");
  text_add(&text, name);
  if (text.full || sys_symlinkat(target, AT_FDCWD, "/etc/.berth.new") != 0) return;
  if (sys_rename("/etc/.berth.new", path) != 0) sys_unlinkat(AT_FDCWD, "/etc/.berth.new", 0);
}

static void link_entry(int view, const char *name, void *context) {
  struct linking *linking = context;
  char path[PATH_LIMIT];
  struct stat status;
  struct text text = text_in(path, sizeof path);
  text_add(&text, linking->prefix);
  text_add(&text, "/");
  text_add(&text, name);
  if (text.full) return;
  if (sys_fstatat(linking->etc, name, &status, AT_SYMLINK_NOFOLLOW) == -ENOENT) {
    sys_symlinkat(path, linking->etc, name);
    return;
  }
  if (linking->depth == 0 && text_starts(path, FHS_ETC "/") && is_default(linking->etc, name)) {
    if (!linking->ahead) replace_link(path, name);
    return;
  }
  /* A folder on both sides: what the container's lacks is linked one level down. The view's may itself be a link. */
  if (linking->depth + 1 >= MAX_DEPTH || (status.st_mode & S_IFMT) != S_IFDIR) return;
  int inner_view = (int)sys_openat(view, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  int inner_etc = (int)sys_openat(linking->etc, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (inner_view >= 0 && inner_etc >= 0) {
    struct linking deeper = {linking->depth + 1, inner_etc, path, linking->ahead};
    for_each_entry(inner_view, deeper.depth, link_entry, &deeper);
  }
  if (inner_view >= 0) sys_close(inner_view);
  if (inner_etc >= 0) sys_close(inner_etc);
}

static void link_folder(int etc, const char *folder, const char *prefix) {
  int from = (int)sys_open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (from < 0) return;
  struct linking linking = {0, etc, prefix, folder != prefix};
  for_each_entry(from, 0, link_entry, &linking);
  sys_close(from);
}

void link_etc(void) {
  int etc = (int)sys_open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (etc < 0) return;
  struct cleaning cleaning = {0};
  for_each_entry(etc, 0, clean_entry, &cleaning);
  link_folder(etc, FHS_ETC, FHS_ETC);
  /* What no view has: passwd and its like of the minimal image. */
  link_folder(etc, DEFAULT_ETC, DEFAULT_ETC);
  sys_close(etc);
}

void link_etc_ahead(u32 generation) {
  char number[16], folder[PATH_LIMIT];
  struct text number_text = text_in(number, sizeof number);
  struct text text = text_in(folder, sizeof folder);
  text_add_number(&number_text, generation);
  add_generation_folder(&text, number);
  text_add(&text, "/fhs/etc");
  int etc = (int)sys_open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (etc < 0) return;
  link_folder(etc, folder, FHS_ETC);
  sys_close(etc);
}
