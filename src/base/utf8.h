/* Text of unknown origin (names of files) for formats that want UTF-8. */
#ifndef QB_BASE_UTF8_H
#define QB_BASE_UTF8_H

/* A malloc'd copy in which every byte that is not part of valid UTF-8 is a '?'; NULL when out of memory. */
char *qb_utf8_copy(const char *text);

#endif
