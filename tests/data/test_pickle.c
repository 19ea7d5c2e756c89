/* The Python version of CIFAR-10: pickles of every protocol in small, refusals, truncation at every length,
 * mutations. The streams are what CPython's pickle module writes (checked against pickletools.dis), with
 * fewer rows. */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

enum { ROWS = 2, DATA = ROWS * QB_IMAGE_BYTES };

/* How a batch is written: Python 2's cPickle (the official files), or Python 3 with its protocols. */
enum style { PYTHON2, PROTOCOL2, PROTOCOL3, PROTOCOL4, PROTOCOL5, STYLES };

struct batch {
    enum style style;
    const char *labels_key, *data_key, *dtype;
    unsigned labels[ROWS], label_count;
    unsigned rows, columns;
    int fortran;
    size_t data_bytes;
    const uint8_t *records;
};

static void text(struct bytes *b, enum style style, const char *s)
{
    const size_t n = strlen(s);
    switch (style) {
    case PYTHON2: bytes_text(b, "U"), bytes_number(b, n, 1); break;
    case PROTOCOL2:
    case PROTOCOL3: bytes_text(b, "X"), bytes_number(b, n, 4); break;
    default: bytes_number(b, 0x8c, 1), bytes_number(b, n, 1); break;
    }
    bytes_text(b, s);
    if (style >= PROTOCOL4) {
        bytes_number(b, 0x94, 1); /* MEMOIZE */
    } else {
        bytes_add(b, "q\5", 2); /* BINPUT to a slot that nobody reads */
    }
}

static void global(struct bytes *b, enum style style, const char *module, const char *name)
{
    if (style >= PROTOCOL4) {
        text(b, style, module);
        text(b, style, name);
        bytes_number(b, 0x93, 1); /* STACK_GLOBAL */
    } else {
        bytes_text(b, "c"), bytes_text(b, module), bytes_text(b, "\n"), bytes_text(b, name),
            bytes_text(b, "\n");
    }
}

static void raw(struct bytes *b, enum style style, const struct batch *batch)
{
    uint8_t *const data = calloc(1, batch->data_bytes + 1);
    assert_non_null(data);
    for (size_t i = 0; i < batch->data_bytes && i < DATA; i++) {
        data[i] = batch->records[i / QB_IMAGE_BYTES * QB_CIFAR_RECORD + 1 + i % QB_IMAGE_BYTES];
    }
    if (style == PROTOCOL2) { /* _codecs.encode(text, 'latin1') */
        struct bytes utf8 = {0};
        for (size_t i = 0; i < batch->data_bytes; i++) {
            if (data[i] >= 0x80) {
                bytes_number(&utf8, 0xc0 | data[i] >> 6, 1);
                bytes_number(&utf8, 0x80 | (data[i] & 0x3f), 1);
            } else {
                bytes_number(&utf8, data[i], 1);
            }
        }
        global(b, style, "_codecs", "encode");
        bytes_text(b, "X"), bytes_number(b, utf8.size, 4), bytes_add(b, utf8.data, utf8.size);
        bytes_add(b, "r\x07\0\0\0", 5); /* LONG_BINPUT 7 */
        text(b, style, "latin1");
        bytes_add(b, "\x86R", 2);
        bytes_free(&utf8);
    } else {
        if (style == PROTOCOL5) {
            bytes_number(b, 0x96, 1), bytes_number(b, batch->data_bytes, 8); /* BYTEARRAY8 */
        } else {
            bytes_text(b, style == PYTHON2 ? "T" : "B"), bytes_number(b, batch->data_bytes, 4);
        }
        bytes_add(b, data, batch->data_bytes);
    }
    free(data);
}

static void dtype(struct bytes *b, const struct batch *batch)
{
    global(b, batch->style, "numpy", "dtype");
    text(b, batch->style, batch->dtype);
    bytes_add(b, batch->style == PYTHON2 ? "K\0K\1" : "\x89\x88", batch->style == PYTHON2 ? 4 : 2);
    bytes_add(b, "\x87R", 2);
    bytes_add(b, "(K\3", 3), text(b, batch->style, "|"),
        bytes_add(b, "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb", 17);
}

static void shape(struct bytes *b, const struct batch *batch)
{
    bytes_text(b, "M"), bytes_number(b, batch->rows, 2), bytes_text(b, "M"),
        bytes_number(b, batch->columns, 2);
    bytes_number(b, 0x86, 1);
}

static void array(struct bytes *b, const struct batch *batch)
{
    const enum style style = batch->style;
    const char *const core = style == PYTHON2 ? "numpy.core" : "numpy._core";
    char module[64] = "";
    strcat(module, core);
    if (style == PROTOCOL5) {
        strcat(module, ".numeric");
        global(b, style, module, "_frombuffer");
        bytes_text(b, "("), raw(b, style, batch), dtype(b, batch), shape(b, batch);
        text(b, style, batch->fortran ? "F" : "C");
        bytes_text(b, "tR");
        return;
    }
    strcat(module, ".multiarray");
    global(b, style, module, "_reconstruct");
    global(b, style, "numpy", "ndarray");
    bytes_add(b, "K\0\x85", 3);
    text(b, style, "b");
    bytes_add(b, "\x87R", 2);
    bytes_text(b, "(K\1"), shape(b, batch), dtype(b, batch);
    bytes_number(b, batch->fortran ? 0x88 : 0x89, 1);
    raw(b, style, batch);
    bytes_text(b, "tb");
}

static struct bytes pickle(const struct batch *batch)
{
    static const uint8_t protocols[STYLES] = {2, 2, 3, 4, 5};
    const enum style style = batch->style;
    struct bytes b = {0};
    bytes_number(&b, 0x80, 1), bytes_number(&b, protocols[style], 1);
    if (style >= PROTOCOL4) {
        bytes_number(&b, 0x95, 1), bytes_number(&b, 1000, 8); /* FRAME: its length says nothing here */
    }
    bytes_text(&b, "}q\1(");
    text(&b, style, "batch_label");
    text(&b, style, "training batch 1 of 5");
    text(&b, style, batch->labels_key);
    bytes_text(&b, "]q\2");
    bytes_text(&b, "("); /* APPENDS, and APPEND for the last, as the pickler does for a list of one */
    for (unsigned i = 0; i + 1 < batch->label_count; i++) {
        bytes_text(&b, "K"), bytes_number(&b, batch->labels[i], 1);
    }
    bytes_text(&b, "eK"), bytes_number(&b, batch->labels[batch->label_count - 1], 1), bytes_text(&b, "a");
    text(&b, style, batch->data_key);
    array(&b, batch);
    bytes_text(&b, "u");
    text(&b, style, "filenames"), bytes_text(&b, "]"), bytes_text(&b, "s."); /* SETITEM */
    return b;
}

static uint8_t *records;

static int make(void **state)
{
    (void)state;
    records = make_records(1, ROWS);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    free(records);
    return 0;
}

static struct batch valid(enum style style)
{
    return (struct batch){.style = style,
                          .labels_key = "labels",
                          .data_key = "data",
                          .dtype = "u1",
                          .labels = {records[0], records[QB_CIFAR_RECORD]},
                          .label_count = ROWS,
                          .rows = ROWS,
                          .columns = QB_IMAGE_BYTES,
                          .data_bytes = DATA,
                          .records = records};
}

/* Parses a copy of exactly that length, so that the address sanitizer sees an over-read. */
static enum qb_status parse(const uint8_t *data, size_t size, struct qb_blob *out, struct qb_error *err)
{
    uint8_t *const copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size) {
        memcpy(copy, data, size);
    }
    const enum qb_status status = qb_cifar_pickle_parse("data_batch_1", copy, size, ROWS, out, err);
    free(copy);
    return status;
}

static void refuse(const struct bytes *b, const char *needle)
{
    struct qb_error err;
    struct qb_blob out = {0};
    qbt_error(parse(b->data, b->size, &out, &err), QB_EINPUT, &err, needle);
    assert_non_null(strstr(err.text, "data_batch_1: "));
    assert_null(out.data);
}

static void refuse_batch(const struct batch *batch, const char *needle)
{
    struct bytes b = pickle(batch);
    refuse(&b, needle);
    bytes_free(&b);
}

static void every_protocol(void **state)
{
    (void)state;
    for (int style = 0; style < STYLES; style++) {
        struct qb_error err;
        struct qb_blob out;
        const struct batch batch = valid((enum style)style);
        struct bytes b = pickle(&batch);
        qbt_ok(parse(b.data, b.size, &out, &err), &err);
        assert_int_equal(out.size, ROWS * QB_CIFAR_RECORD);
        assert_memory_equal(out.data, records, out.size);
        qb_blob_free(&out);
        bytes_free(&b);
    }
}

static void from_a_file(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_blob out;
    char *const dir = qbt_mkdtemp();
    const struct batch batch = valid(PYTHON2);
    struct bytes b = pickle(&batch);
    const char *const path = at(dir, "test_batch");
    qbt_error(qb_cifar_pickle_read(path, ROWS, &out, &err), QB_ENOTFOUND, &err, path);
    write_bytes(path, b.data, b.size);
    qbt_ok(qb_cifar_pickle_read(path, ROWS, &out, &err), &err);
    assert_memory_equal(out.data, records, ROWS * QB_CIFAR_RECORD);
    qb_blob_free(&out);
    write_bytes(path, b.data, b.size - 1);
    qbt_error(qb_cifar_pickle_read(path, ROWS, &out, &err), QB_EINPUT, &err, path);
    bytes_free(&b);
    qbt_rmtree(dir);
}

static void wrong_content(void **state)
{
    (void)state;
    for (int style = 0; style < STYLES; style++) {
        struct batch batch = valid((enum style)style);
        batch.labels[1] = 10;
        refuse_batch(&batch, "image 1 has label 10");
        batch = valid((enum style)style);
        batch.label_count = 1;
        refuse_batch(&batch, "not a list of 2 numbers");
        batch = valid((enum style)style);
        batch.labels_key = "label";
        refuse_batch(&batch, "no 'labels'");
        batch.labels_key = "fine_labels";
        refuse_batch(&batch, "this is CIFAR-100");
        batch = valid((enum style)style);
        batch.data_key = "pixels";
        refuse_batch(&batch, "no numpy array 'data'");
        batch = valid((enum style)style);
        batch.dtype = "f4";
        refuse_batch(&batch, "type f4");
        batch = valid((enum style)style);
        batch.rows = 3;
        refuse_batch(&batch, "shape (2, 3072)");
        batch = valid((enum style)style);
        batch.columns = 3071;
        refuse_batch(&batch, "shape (2, 3072)");
        batch = valid((enum style)style);
        batch.fortran = 1;
        refuse_batch(&batch, "in C order");
        batch = valid((enum style)style);
        batch.data_bytes--;
        refuse_batch(&batch, "cut short or garbled in image 1");
        batch.data_bytes += 2;
        refuse_batch(&batch, "more bytes");
    }
}

/* The classic: os.system. And everything else that is a name, a call or a persistent id. */
static void code_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        size_t size;
        const char *needle;
    } cases[] = {
#define CASE(stream, needle) {stream, sizeof(stream) - 1, needle}
        CASE("\x80\2cos\nsystem\nU\7echo hi\x85R.", "asks for os.system; only numpy arrays are accepted"),
        CASE("\x80\2cnumpy\nload\n.", "numpy.load"),
        CASE("\x80\2c__builtin__\neval\n.", "__builtin__.eval"),
        CASE("\x80\2cnumpi\ndtype\n.", "numpi.dtype"), /* as long as a known name */
        CASE("\x80\2cnumpy\nctype\n.", "numpy.ctype"),
        CASE("\x80\4\x8c\2os\x8c\6system\x93.", "os.system"),
        CASE("\x80\4K\1\x8c\6system\x93.", "a name is not a text"),
        CASE("\x80\2(ios\nsystem\n.", "instruction 0x69"),
        CASE("\x80\2P1\n.", "instruction 0x50"),
        CASE("\x80\2cnumpy\nndarray\n)R.", "not a function"),
        CASE("\x80\2cnumpy\ndtype\n)R.", "numpy.dtype with unknown arguments"),
        CASE("\x80\2c_codecs\nencode\nU\1xU\5utf-8\x86R.", "_codecs.encode with unknown arguments"),
        CASE("\x80\2c_codecs\nencode\n)R.", "_codecs.encode with unknown arguments"),
        CASE("\x80\5cnumpy.core.numeric\n_frombuffer\n)R.", "_frombuffer with unknown arguments"),
        CASE("\x80\2}}b.", "the state of something"),
        CASE("\x80\2K\1)R.", "not a known name"),
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct bytes b = {.data = (uint8_t *)(uintptr_t)cases[i].stream, .size = cases[i].size};
        refuse(&b, cases[i].needle);
    }
}

static void malformed_streams(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        size_t size;
        const char *needle;
    } cases[] = {
        CASE("", "not a Python pickle"),
        CASE("\x80", "not a Python pickle"),
        CASE("\x80\1}.", "protocol 2 to 5"),
        CASE("\x80\6}.", "protocol 2 to 5"),
        CASE("(dp0\nS'data'\n.", "not a Python pickle"),
        CASE("\x80\2.", "too few values"),
        CASE("\x80\2(.", "too few values"),
        CASE("\x80\2].", "not a dictionary"),
        CASE("\x80\2(e.", "too few values"),
        CASE("\x80\2}(K\1u.", "the wrong container"),
        CASE("\x80\2}K\1a.", "the wrong container"),
        CASE("\x80\2]K\1K\2s.", "the wrong container"),
        CASE("\x80\2t.", "no mark"),
        CASE("\x80\2K\1\x87.", "too few values"),
        CASE("\x80\2h\0.", "never stored"),
        CASE("\x80\2}r\xff\xff\xff\xff.", "memo index is too large"),
        CASE("\x80\2}r\x40\0\0\0.", "memo index is too large"),
        CASE("\x80\2\x8a\x09", "more than 64 bits"),
        CASE("\x80\2X\xff\xff\xff\xff.", "truncated"),
        CASE("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "truncated"),
        CASE("\x80\2cnumpy\ndtype", "truncated"),
        /* a list that contains itself, as 'labels' */
        CASE("\x80\2}U\6labels]q\1h\1ah\1as.", "the label of image 0 is not a number"),
        /* data without state; data whose labels are right but which is no array */
        CASE("\x80\2}U\6labels]K\1aK\2asU\4datacnumpy.core.multiarray\n_reconstruct\n)Rs.",
             "no numpy array 'data'"),
        CASE("\x80\2}U\6labels]K\1aK\2asU\4dataNs.", "no numpy array 'data'"),
#undef CASE
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct bytes b = {.data = (uint8_t *)(uintptr_t)cases[i].stream, .size = cases[i].size};
        refuse(&b, cases[i].needle);
    }
}

static void endless_streams_are_bounded(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_add(&b, "\x80\2]q\1", 5);
    for (unsigned i = 0; i < 600000; i++) {
        bytes_add(&b, "h\1", 2);
    }
    refuse(&b, "instructions");
    bytes_free(&b);
}

static void truncation_at_every_length(void **state)
{
    (void)state;
    for (int style = 0; style < STYLES; style++) {
        const struct batch batch = valid((enum style)style);
        struct bytes b = pickle(&batch);
        for (size_t n = b.size; n-- > 0;) {
            struct qb_error err;
            struct qb_blob out = {0};
            qbt_error(parse(b.data, n, &out, &err), QB_EINPUT, &err, "data_batch_1: ");
            assert_null(out.data);
        }
        bytes_free(&b);
    }
}

/* Any byte of the structure (not the pixels) changed to many values: the right records, valid labels, or an
 * error. */
static void mutations_never_crash(void **state)
{
    (void)state;
    static const uint8_t values[] = {0,   1,    2,    '(',  ')',  '.',  'B',  'K',  'R', 'T', 'U',
                                     'X', 'a',  'b',  'e',  'h',  'q',  'r',  's',  't', 'u', ']',
                                     '}', 0x7f, 0x80, 0x85, 0x87, 0x8c, 0x93, 0x94, 0xff};
    unsigned refused = 0, accepted = 0;
    for (int style = 0; style < STYLES; style++) {
        const struct batch batch = valid((enum style)style);
        struct bytes b = pickle(&batch);
        for (size_t i = 0; i < b.size; i++) {
            if (i > 300 && i + 300 < b.size) {
                continue;
            }
            const uint8_t old = b.data[i];
            for (unsigned v = 0; v < sizeof values; v++) {
                struct qb_error err;
                struct qb_blob out;
                b.data[i] = values[v];
                const enum qb_status status = parse(b.data, b.size, &out, &err);
                if (status == QB_OK) {
                    assert_true(out.data[0] < QB_CLASSES && out.data[QB_CIFAR_RECORD] < QB_CLASSES);
                    qb_blob_free(&out);
                    accepted++;
                } else {
                    assert_int_equal(status, QB_EINPUT);
                    refused++;
                }
            }
            b.data[i] = old;
        }
        bytes_free(&b);
    }
    assert_true(refused > 10000 && accepted > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol),
        cmocka_unit_test(from_a_file),
        cmocka_unit_test(wrong_content),
        cmocka_unit_test(code_is_refused),
        cmocka_unit_test(malformed_streams),
        cmocka_unit_test(endless_streams_are_bounded),
        cmocka_unit_test(truncation_at_every_length),
        cmocka_unit_test(mutations_never_crash),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
