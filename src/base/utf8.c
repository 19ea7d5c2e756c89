/* Valid UTF-8 from any text: see utf8.h. The table of well-formed sequences: Unicode 15, 3.9, table 3-7. */
#include "base/utf8.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the well-formed sequence at `s`; 0 when there is none. */
static size_t sequence(const unsigned char *s)
{
    if (s[0] < 0x80) {
        return 1;
    }
    const size_t length = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                          : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                          : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                         : 0;
    /* No overlong forms, no surrogates, nothing above U+10FFFF. */
    const unsigned low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    const unsigned high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (length && (s[1] < low || s[1] > high)) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) { /* the NUL at the end is no continuation */
        if (s[i] < 0x80 || s[i] > 0xbf) {
            return 0;
        }
    }
    return length;
}

char *qb_utf8_copy(const char *text)
{
    char *const copy = strdup(text);
    for (char *p = copy; p && *p;) {
        const size_t length = sequence((const unsigned char *)p);
        if (!length) {
            *p = '?';
        }
        p += length ? length : 1;
    }
    return copy;
}
