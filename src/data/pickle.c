/* The restricted pickle machine: see pickle.h. Every instruction makes at most one value, and their number is
 * limited: that bounds memory for any input. */
#include "data/pickle.h"

#include <string.h>

/* A batch of the official files takes about 30,000 (10,000 labels, 10,000 file names and their memo entries),
 * written anew by Python 3 in protocol 2 about 90,000. */
enum { MAX_INSTRUCTIONS = 1 << 19 };

enum opcode {
    OP_MARK = '(',
    OP_EMPTY_TUPLE = ')',
    OP_STOP = '.',
    OP_BINBYTES = 'B',
    OP_SHORT_BINBYTES = 'C',
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_NONE = 'N',
    OP_REDUCE = 'R',
    OP_BINSTRING = 'T',
    OP_SHORT_BINSTRING = 'U',
    OP_BINUNICODE = 'X',
    OP_EMPTY_LIST = ']',
    OP_APPEND = 'a',
    OP_BUILD = 'b',
    OP_GLOBAL = 'c',
    OP_APPENDS = 'e',
    OP_BINGET = 'h',
    OP_LONG_BINGET = 'j',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_SETITEM = 's',
    OP_TUPLE = 't',
    OP_SETITEMS = 'u',
    OP_EMPTY_DICT = '}',
    OP_PROTO = 0x80,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2,
    OP_TUPLE3,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE,
    OP_LONG1 = 0x8a,
    OP_SHORT_BINUNICODE = 0x8c,
    OP_BINUNICODE8,
    OP_BINBYTES8,
    OP_STACK_GLOBAL = 0x93,
    OP_MEMOIZE,
    OP_FRAME,
    OP_BYTEARRAY8,
};

enum global { G_RECONSTRUCT, G_FROMBUFFER, G_NDARRAY, G_DTYPE, G_ENCODE };
static const struct {
    const char *module, *name;
    enum global global;
} known_globals[] = {
    {"numpy.core.multiarray", "_reconstruct", G_RECONSTRUCT},
    {"numpy._core.multiarray", "_reconstruct", G_RECONSTRUCT}, /* numpy 2 */
    {"numpy.core.numeric", "_frombuffer", G_FROMBUFFER},
    {"numpy._core.numeric", "_frombuffer", G_FROMBUFFER},
    {"numpy", "ndarray", G_NDARRAY},
    {"numpy", "dtype", G_DTYPE},
    {"_codecs", "encode", G_ENCODE},
};

struct machine {
    const char *name;
    const uint8_t *bytes;
    size_t size, at, op_at; /* op_at: where the current instruction starts, for messages */
    struct qb_arena *arena;
    struct qb_pickle_items stack, memo;
    struct qb_error *err;
};

static enum qb_status bad(struct machine *m, const char *what)
{
    qb_fail(m->err, QB_EINPUT, "%s: byte %zu: %s", m->name, m->op_at, what);
    return QB_EINPUT;
}

static enum qb_status append(struct machine *m, struct qb_pickle_items *items, struct qb_pickle_value *value)
{
    if (items->count == items->capacity) {
        const size_t capacity = items->capacity ? 2 * items->capacity : 8;
        struct qb_pickle_value **const at = qb_arena_array(m->arena, capacity, sizeof *at);
        if (!at) {
            return qb_fail_memory(m->err, capacity * sizeof *at);
        }
        if (items->count) {
            memcpy(at, items->at, items->count * sizeof *at);
        }
        items->at = at;
        items->capacity = capacity;
    }
    items->at[items->count++] = value;
    return QB_OK;
}

/* Makes a value and pushes it. */
static enum qb_status push(struct machine *m, struct qb_pickle_value content)
{
    struct qb_pickle_value *const value = qb_arena_memdup(m->arena, &content, sizeof content);
    return value ? append(m, &m->stack, value) : qb_fail_memory(m->err, sizeof content);
}

/* The next `n` bytes, or NULL (with the error set) when the file ends before. */
static const uint8_t *take(struct machine *m, size_t n)
{
    if (n > m->size - m->at) {
        bad(m, "the pickle is truncated");
        return NULL;
    }
    m->at += n;
    return m->bytes + m->at - n;
}

/* A little-endian number of `n` bytes. */
static enum qb_status take_number(struct machine *m, size_t n, uint64_t *out)
{
    const uint8_t *const p = take(m, n);
    if (!p) {
        return QB_EINPUT;
    }
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        *out |= (uint64_t)p[i] << 8 * i;
    }
    return QB_OK;
}

static enum qb_status push_text(struct machine *m, size_t length_bytes)
{
    uint64_t length;
    QB_TRY(take_number(m, length_bytes, &length));
    const uint8_t *const text = take(m, length);
    return text ? push(m, (struct qb_pickle_value){.kind = QB_PICKLE_TEXT, .text = text, .size = length})
                : QB_EINPUT;
}

static enum qb_status push_number(struct machine *m, size_t bytes, int is_signed)
{
    uint64_t number;
    QB_TRY(take_number(m, bytes, &number));
    if (is_signed && bytes && bytes < 8 && (number >> (8 * bytes - 1)) & 1) {
        number |= UINT64_MAX << 8 * bytes;
    }
    return push(m, (struct qb_pickle_value){.kind = QB_PICKLE_INT, .number = (int64_t)number});
}

/* The top value, not removed; NULL (with the error set) when there is none or it is a mark. */
static struct qb_pickle_value *top(struct machine *m)
{
    struct qb_pickle_value *const value = m->stack.count ? m->stack.at[m->stack.count - 1] : NULL;
    if (!value || value->kind == QB_PICKLE_MARK) {
        bad(m, "an instruction finds too few values");
        return NULL;
    }
    return value;
}

static struct qb_pickle_value *pop(struct machine *m)
{
    struct qb_pickle_value *const value = top(m);
    m->stack.count -= value != NULL;
    return value;
}

/* Removes everything above the topmost mark, and the mark; *items points at it until the next push. */
static enum qb_status pop_mark(struct machine *m, struct qb_pickle_value ***items, size_t *count)
{
    size_t i = m->stack.count;
    while (i && m->stack.at[i - 1]->kind != QB_PICKLE_MARK) {
        i--;
    }
    if (!i) {
        return bad(m, "an instruction finds no mark");
    }
    *items = m->stack.at + i;
    *count = m->stack.count - i;
    m->stack.count = i - 1;
    return QB_OK;
}

static enum qb_status push_tuple(struct machine *m, struct qb_pickle_value **items, size_t count)
{
    struct qb_pickle_value tuple = {.kind = QB_PICKLE_TUPLE};
    for (size_t i = 0; i < count; i++) {
        QB_TRY(append(m, &tuple.items, items[i]));
    }
    return push(m, tuple);
}

static enum qb_status push_small_tuple(struct machine *m, size_t count)
{
    struct qb_pickle_value *items[3];
    for (size_t i = count; i-- > 0;) {
        if (!(items[i] = pop(m))) {
            return QB_EINPUT;
        }
    }
    return push_tuple(m, items, count);
}

/* Appends `count` items to the container on top of the stack. */
static enum qb_status extend(struct machine *m, enum qb_pickle_kind kind, struct qb_pickle_value **items,
                             size_t count)
{
    struct qb_pickle_value *const container = top(m);
    if (!container) {
        return QB_EINPUT;
    }
    if (container->kind != kind || (kind == QB_PICKLE_DICT && count % 2)) {
        return bad(m, "an instruction finds the wrong container");
    }
    for (size_t i = 0; i < count; i++) {
        QB_TRY(append(m, &container->items, items[i]));
    }
    return QB_OK;
}

static enum qb_status put(struct machine *m, uint64_t index)
{
    struct qb_pickle_value *const value = top(m);
    if (!value) {
        return QB_EINPUT;
    }
    if (index >= MAX_INSTRUCTIONS || index > m->at) {
        return bad(m, "a memo index is too large");
    }
    while (m->memo.count <= index) {
        QB_TRY(append(m, &m->memo, NULL));
    }
    m->memo.at[index] = value;
    return QB_OK;
}

static enum qb_status get(struct machine *m, uint64_t index)
{
    return index < m->memo.count && m->memo.at[index] ? append(m, &m->stack, m->memo.at[index])
                                                      : bad(m, "a memo index was never stored");
}

static enum qb_status push_global(struct machine *m, const uint8_t *module, size_t module_size,
                                  const uint8_t *name, size_t name_size)
{
    for (size_t i = 0; i < sizeof known_globals / sizeof known_globals[0]; i++) {
        if (strlen(known_globals[i].module) == module_size && strlen(known_globals[i].name) == name_size &&
            memcmp(known_globals[i].module, module, module_size) == 0 &&
            memcmp(known_globals[i].name, name, name_size) == 0) {
            return push(
                m, (struct qb_pickle_value){.kind = QB_PICKLE_GLOBAL, .number = known_globals[i].global});
        }
    }
    return qb_fail(
        m->err, QB_EINPUT,
        "%s: byte %zu: the pickle asks for %.*s.%.*s; only numpy arrays are accepted, nothing was executed",
        m->name, m->op_at, module_size < 64 ? (int)module_size : 64, (const char *)module,
        name_size < 64 ? (int)name_size : 64, (const char *)name);
}

/* GLOBAL: two lines of text behind the instruction. */
static enum qb_status do_global(struct machine *m)
{
    const uint8_t *part[2];
    size_t length[2];
    for (int i = 0; i < 2; i++) {
        part[i] = m->bytes + m->at;
        const uint8_t *const end = memchr(part[i], '\n', m->size - m->at);
        if (!end) {
            return bad(m, "the pickle is truncated");
        }
        length[i] = (size_t)(end - part[i]);
        m->at += length[i] + 1;
    }
    return push_global(m, part[0], length[0], part[1], length[1]);
}

static enum qb_status do_stack_global(struct machine *m)
{
    const struct qb_pickle_value *const name = pop(m), *const module = name ? pop(m) : NULL;
    if (!module) {
        return QB_EINPUT;
    }
    if (name->kind != QB_PICKLE_TEXT || module->kind != QB_PICKLE_TEXT) {
        return bad(m, "a name is not a text");
    }
    return push_global(m, module->text, module->size, name->text, name->size);
}

static int has_kinds(const struct qb_pickle_value *tuple, size_t count, const enum qb_pickle_kind *kinds)
{
    int good = tuple->kind == QB_PICKLE_TUPLE && tuple->items.count == count;
    for (size_t i = 0; good && i < count; i++) {
        good = tuple->items.at[i]->kind == kinds[i];
    }
    return good;
}

static enum qb_status set_array(struct machine *m, struct qb_pickle_value *array,
                                struct qb_pickle_value *shape, struct qb_pickle_value *dtype,
                                struct qb_pickle_value *data, int fortran)
{
    array->items.count = 0;
    array->number = fortran;
    QB_TRY(append(m, &array->items, shape));
    QB_TRY(append(m, &array->items, dtype));
    return append(m, &array->items, data);
}

/* `text` is ASCII. */
static int is_text(const struct qb_pickle_value *value, const char *text)
{
    const size_t size = strlen(text);
    return value->kind == QB_PICKLE_TEXT && value->size == size && memcmp(value->text, text, size) == 0;
}

/* REDUCE: a call in Python; here the recognised result of one of the known names. */
static enum qb_status do_reduce(struct machine *m)
{
    const struct qb_pickle_value *const args = pop(m), *const callee = args ? pop(m) : NULL;
    if (!callee) {
        return QB_EINPUT;
    }
    if (callee->kind != QB_PICKLE_GLOBAL || args->kind != QB_PICKLE_TUPLE) {
        return bad(m, "a call of something that is not a known name");
    }
    struct qb_pickle_value **const arg = args->items.at;
    switch ((enum global)callee->number) {
    case G_RECONSTRUCT: return push(m, (struct qb_pickle_value){.kind = QB_PICKLE_ARRAY});
    case G_DTYPE:
        if (args->items.count && arg[0]->kind == QB_PICKLE_TEXT) {
            return push(m, (struct qb_pickle_value){
                               .kind = QB_PICKLE_DTYPE, .text = arg[0]->text, .size = arg[0]->size});
        }
        return bad(m, "numpy.dtype with unknown arguments");
    case G_ENCODE:
        if (args->items.count == 2 && arg[0]->kind == QB_PICKLE_TEXT && is_text(arg[1], "latin1")) {
            return push(m,
                        (struct qb_pickle_value){
                            .kind = QB_PICKLE_TEXT, .text = arg[0]->text, .size = arg[0]->size, .latin1 = 1});
        }
        return bad(m, "_codecs.encode with unknown arguments");
    case G_FROMBUFFER:
        if (has_kinds(args, 4,
                      (const enum qb_pickle_kind[]){QB_PICKLE_TEXT, QB_PICKLE_DTYPE, QB_PICKLE_TUPLE,
                                                    QB_PICKLE_TEXT})) {
            struct qb_pickle_value array = {.kind = QB_PICKLE_ARRAY};
            QB_TRY(set_array(m, &array, arg[2], arg[1], arg[0], !is_text(arg[3], "C")));
            return push(m, array);
        }
        return bad(m, "numpy's _frombuffer with unknown arguments");
    case G_NDARRAY: break;
    }
    return bad(m, "a call of something that is not a function");
}

/* BUILD: the state of an array (version, shape, dtype, Fortran order, data) or of a dtype. The latter says
 * byte order and alignment, which mean nothing for the one-byte type that is accepted in the end. */
static enum qb_status do_build(struct machine *m)
{
    const struct qb_pickle_value *const state = pop(m);
    struct qb_pickle_value *const object = state ? top(m) : NULL;
    if (!object) {
        return QB_EINPUT;
    }
    if (object->kind == QB_PICKLE_DTYPE && state->kind == QB_PICKLE_TUPLE) {
        return QB_OK;
    }
    if (object->kind == QB_PICKLE_ARRAY &&
        has_kinds(state, 5,
                  (const enum qb_pickle_kind[]){QB_PICKLE_INT, QB_PICKLE_TUPLE, QB_PICKLE_DTYPE,
                                                QB_PICKLE_INT, QB_PICKLE_TEXT})) {
        struct qb_pickle_value **const part = state->items.at;
        return set_array(m, object, part[1], part[2], part[4], part[3]->number != 0);
    }
    return bad(m, "the state of something that is not a numpy array");
}

static enum qb_status step(struct machine *m, unsigned op)
{
    struct qb_pickle_value **items, *pair[2];
    uint64_t number;
    size_t count;
    switch (op) {
    case OP_PROTO: return take(m, 1) ? QB_OK : QB_EINPUT;
    case OP_FRAME: return take_number(m, 8, &number);
    case OP_MARK: return push(m, (struct qb_pickle_value){.kind = QB_PICKLE_MARK});
    case OP_NONE: return push(m, (struct qb_pickle_value){.kind = QB_PICKLE_NONE});
    case OP_NEWTRUE: return push(m, (struct qb_pickle_value){.kind = QB_PICKLE_INT, .number = 1});
    case OP_NEWFALSE: return push(m, (struct qb_pickle_value){.kind = QB_PICKLE_INT});
    case OP_BININT: return push_number(m, 4, 1);
    case OP_BININT1: return push_number(m, 1, 0);
    case OP_BININT2: return push_number(m, 2, 0);
    case OP_LONG1:
        QB_TRY(take_number(m, 1, &number));
        return number <= 8 ? push_number(m, number, 1) : bad(m, "a number of more than 64 bits");
    case OP_SHORT_BINSTRING:
    case OP_SHORT_BINBYTES:
    case OP_SHORT_BINUNICODE: return push_text(m, 1);
    case OP_BINSTRING:
    case OP_BINBYTES:
    case OP_BINUNICODE: return push_text(m, 4);
    case OP_BINBYTES8:
    case OP_BINUNICODE8:
    case OP_BYTEARRAY8: return push_text(m, 8);
    case OP_EMPTY_LIST: return push(m, (struct qb_pickle_value){.kind = QB_PICKLE_LIST});
    case OP_EMPTY_DICT: return push(m, (struct qb_pickle_value){.kind = QB_PICKLE_DICT});
    case OP_EMPTY_TUPLE: return push_small_tuple(m, 0);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3: return push_small_tuple(m, op - OP_TUPLE1 + 1);
    case OP_TUPLE: QB_TRY(pop_mark(m, &items, &count)); return push_tuple(m, items, count);
    case OP_APPEND: pair[0] = pop(m); return pair[0] ? extend(m, QB_PICKLE_LIST, pair, 1) : QB_EINPUT;
    case OP_APPENDS: QB_TRY(pop_mark(m, &items, &count)); return extend(m, QB_PICKLE_LIST, items, count);
    case OP_SETITEM:
        pair[1] = pop(m);
        pair[0] = pair[1] ? pop(m) : NULL;
        return pair[0] ? extend(m, QB_PICKLE_DICT, pair, 2) : QB_EINPUT;
    case OP_SETITEMS: QB_TRY(pop_mark(m, &items, &count)); return extend(m, QB_PICKLE_DICT, items, count);
    case OP_BINPUT: QB_TRY(take_number(m, 1, &number)); return put(m, number);
    case OP_LONG_BINPUT: QB_TRY(take_number(m, 4, &number)); return put(m, number);
    case OP_MEMOIZE: return put(m, m->memo.count);
    case OP_BINGET: QB_TRY(take_number(m, 1, &number)); return get(m, number);
    case OP_LONG_BINGET: QB_TRY(take_number(m, 4, &number)); return get(m, number);
    case OP_GLOBAL: return do_global(m);
    case OP_STACK_GLOBAL: return do_stack_global(m);
    case OP_REDUCE: return do_reduce(m);
    case OP_BUILD: return do_build(m);
    default:
        return qb_fail(m->err, QB_EINPUT,
                       "%s: byte %zu: pickle instruction 0x%02x is not one that CIFAR-10 needs", m->name,
                       m->op_at, op);
    }
}

enum qb_status qb_pickle_parse(const char *name, const uint8_t *bytes, size_t size, struct qb_arena *arena,
                               const struct qb_pickle_value **root, struct qb_error *err)
{
    if (size < 2 || bytes[0] != OP_PROTO || bytes[1] < 2 || bytes[1] > 5) {
        return qb_fail(err, QB_EINPUT, "%s: not a Python pickle of protocol 2 to 5", name);
    }
    struct machine m = {.name = name, .bytes = bytes, .size = size, .arena = arena, .err = err};
    for (unsigned done = 0; done < MAX_INSTRUCTIONS; done++) {
        m.op_at = m.at;
        const uint8_t *const op = take(&m, 1);
        if (!op) {
            return err->status;
        }
        if (*op == OP_STOP) {
            *root = pop(&m);
            return *root ? QB_OK : err->status;
        }
        QB_TRY(step(&m, *op));
    }
    return qb_fail(err, QB_EINPUT, "%s: the pickle has more than %d instructions, not a CIFAR-10 batch", name,
                   MAX_INSTRUCTIONS);
}

const struct qb_pickle_value *qb_pickle_lookup(const struct qb_pickle_value *dict, const char *key)
{
    for (size_t i = dict->items.count; i >= 2; i -= 2) {
        if (is_text(dict->items.at[i - 2], key)) {
            return dict->items.at[i - 1];
        }
    }
    return NULL;
}
