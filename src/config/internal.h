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

/* Appends ", item" (no comma first) to a text of `size` bytes, cut when full. */
void qb_append_name(char *text, size_t size, const char *item);

#endif
