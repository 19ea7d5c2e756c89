/* Reads a Python pickle of plain containers, byte strings and numpy arrays as a tree, without executing
 * anything. Internal to the room.
 *
 * A pickle is a program for a stack machine. This machine knows only the instructions that build containers,
 * numbers and strings (protocols 2 to 5), and recognises (never calls) five names: numpy's _reconstruct,
 * _frombuffer, ndarray and dtype, and _codecs.encode, by which Python 3 writes byte strings in protocol 2.
 * Anything else is refused. Source: CPython's Lib/pickletools.py; numpy's ndarray.__reduce__ and
 * __reduce_ex__. */
#ifndef QB_DATA_PICKLE_H
#define QB_DATA_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

enum qb_pickle_kind {
    QB_PICKLE_NONE,
    QB_PICKLE_INT,    /* number; booleans too */
    QB_PICKLE_TEXT,   /* text, size: a byte string or a Unicode string */
    QB_PICKLE_LIST,   /* items */
    QB_PICKLE_TUPLE,  /* items */
    QB_PICKLE_DICT,   /* items: key, value, key, value, ... */
    QB_PICKLE_DTYPE,  /* text, size: "u1" */
    QB_PICKLE_ARRAY,  /* number: 1 when in Fortran order; items: shape, dtype, data (none before its state is
                         known) */
    QB_PICKLE_GLOBAL, /* number: which of the five names */
    QB_PICKLE_MARK,   /* never in a finished tree */
};

struct qb_pickle_value;
struct qb_pickle_items {
    struct qb_pickle_value **at;
    size_t count, capacity;
};
struct qb_pickle_value {
    enum qb_pickle_kind kind;
    int latin1; /* a TEXT whose bytes are the code points of the UTF-8 text it points at */
    int64_t number;
    const uint8_t *text; /* into the file's bytes */
    size_t size;
    struct qb_pickle_items items;
};
enum { QB_PICKLE_ARRAY_SHAPE, QB_PICKLE_ARRAY_DTYPE, QB_PICKLE_ARRAY_DATA, QB_PICKLE_ARRAY_ITEMS };

/* Parses `size` bytes (`name` only for messages). The tree lives in `arena` and points into `bytes`. It may
 * contain itself: walk it only to a known depth. */
enum qb_status qb_pickle_parse(const char *name, const uint8_t *bytes, size_t size, struct qb_arena *arena,
                               const struct qb_pickle_value **root, struct qb_error *err);

/* The value of a text key of a DICT (the last one written, as in Python), or NULL. */
const struct qb_pickle_value *qb_pickle_lookup(const struct qb_pickle_value *dict, const char *key);

#endif
