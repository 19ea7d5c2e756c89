/* What the files of src/config share beyond yaml.h. */
#ifndef QB_CONFIG_INTERNAL_H
#define QB_CONFIG_INTERNAL_H

#include <stdbool.h>

#include "config/scheme.h"

enum { QB_NAME_MAX = 63 };

/* 1 to 63 letters, digits, '_', '-', '.', the first a letter or digit: names become file names and table
 * cells. */
bool qb_name_is_valid(const char *name);
#define QB_NAME_RULE "1 to 63 letters, digits, '_', '-' or '.', starting with a letter or digit"

/* A file or folder that a configuration file `from` names: as written if that exists, else beside `from`.
 * *out: where it is, or `written` as it is. */
enum qb_status qb_find_beside(const char *from, const char *written, struct qb_arena *arena, const char **out,
                              struct qb_error *err);

/* The path of a scheme file, not the name of a shipped one. */
bool qb_scheme_is_path(const char *text);
/* A scheme as a configuration file names it: qb_find_beside if it is a path. */
enum qb_status qb_find_scheme(const char *from, const char *written, struct qb_arena *arena, const char **out,
                              struct qb_error *err);

/* Appends ", item" (no comma first) to a text of `size` bytes, cut when full. */
void qb_append_name(char *text, size_t size, const char *item);

#endif
