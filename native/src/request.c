/* Reading a run request. */
#include "agent.h"

/* Takes the next NUL-terminated text, or returns NULL where there is none. */
static char *next_text(char **at, const char *end) {
  char *text = *at;
  char *scan = text;
  while (scan < end && *scan != 0) scan += 1;
  if (scan >= end) return NULL;
  *at = scan + 1;
  return text;
}

int parse_run_request(struct run_request *request, char *payload, usize length) {
  if (length < sizeof request->header) return -EINVAL;
  memcpy(&request->header, payload, sizeof request->header);
  const struct run_header *header = &request->header;
  if (header->version != PROTOCOL_VERSION) return -EINVAL;
  if (header->argument_count > MAX_ARGUMENTS || header->variable_count > MAX_VARIABLES) return -EINVAL;
  char *at = payload + sizeof request->header;
  const char *end = payload + length;
  request->directory = next_text(&at, end);
  if (request->directory == NULL) return -EINVAL;
  for (u32 i = 0; i < header->argument_count; i += 1)
    if ((request->arguments[i] = next_text(&at, end)) == NULL) return -EINVAL;
  for (u32 i = 0; i < header->variable_count; i += 1)
    if ((request->variables[i] = next_text(&at, end)) == NULL) return -EINVAL;
  request->arguments[header->argument_count] = NULL;
  request->variables[header->variable_count] = NULL;
  return at == end ? 0 : -EINVAL;
}
