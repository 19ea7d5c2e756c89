/* Runs the HDF5 reader in a child process and turns its records into struct qb_keras_file. See keras_file.h.
 */
#include "model/keras_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_SECONDS = 5 }; /* CPU time; a sound file takes milliseconds */

/* Never returns. Whatever a crashing libhdf5 or its allocator prints goes nowhere. */
static _Noreturn void child_main(const struct qb_blob *file, int fd)
{
    const struct rlimit cpu = {CHILD_SECONDS, CHILD_SECONDS + 1}, core = {0, 0};
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &core);
    /* The parent's handlers are not for this process: a test's would go on with the tests, here. */
    static const int signals[] = {SIGSEGV, SIGBUS,  SIGABRT, SIGFPE, SIGILL,
                                  SIGPIPE, SIGXCPU, SIGINT,  SIGTERM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        signal(signals[i], SIG_DFL);
    }
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
    qb_keras_hdf5_send(file, fd);
    _exit(0);
}

/* Everything the child writes, at most `limit` bytes. */
static enum qb_status read_all(int fd, size_t limit, struct qb_blob *out, struct qb_error *err)
{
    size_t size = 0, room = 65536;
    uint8_t *data = malloc(room);
    while (data) {
        if (size == room) {
            uint8_t *const larger = realloc(data, room *= 2);
            if (!larger) {
                break;
            }
            data = larger;
        }
        const ssize_t n = read(fd, data + size, room - size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            free(data);
            return qb_fail(err, QB_EIO, "the HDF5 reader cannot be heard: %s", strerror(errno));
        }
        if (n == 0) {
            *out = (struct qb_blob){data, size};
            return QB_OK;
        }
        size += (size_t)n;
        if (size > limit) {
            free(data);
            return qb_fail(err, QB_EINPUT, "its arrays are larger than the file: the file is damaged");
        }
    }
    free(data);
    return qb_fail_memory(err, room);
}

/* The child's output, and its wait status. */
static enum qb_status run_child(const struct qb_blob *file, struct qb_blob *out, int *wait_status,
                                struct qb_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return qb_fail(err, QB_EIO, "no pipe for the HDF5 reader: %s", strerror(errno));
    }
    const pid_t pid = fork();
    if (pid < 0) {
        const int reason = errno;
        close(ends[0]);
        close(ends[1]);
        return qb_fail(err, QB_EIO, "no process for the HDF5 reader: %s", strerror(reason));
    }
    if (pid == 0) {
        close(ends[0]);
        child_main(file, ends[1]);
    }
    close(ends[1]);
    /* Each array is at most the file, and all together are what the file holds, unless it lists one many
     * times. */
    const enum qb_status status = read_all(ends[0], 2 * file->size + (1 << 20), out, err);
    close(ends[0]);
    if (status != QB_OK) {
        kill(pid, SIGKILL);
    }
    *wait_status = 0;
    while (waitpid(pid, wait_status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* Bytes [*at, *at + size) of `from`, moving *at; NULL behind the end. */
static const uint8_t *take(const struct qb_blob *from, size_t *at, uint64_t size)
{
    if (size > from->size - *at) {
        return NULL;
    }
    const uint8_t *const p = from->data + *at;
    *at += (size_t)size;
    return p;
}

static enum qb_status astray(struct qb_error *err)
{
    return qb_fail(err, QB_EINPUT, "libhdf5 went astray: the file is damaged");
}

static enum qb_status keep_array(const struct qb_keras_record *record, const char *layer, const char *name,
                                 const uint8_t *data, struct qb_arena *arena, struct qb_keras_file *out,
                                 struct qb_error *err)
{
    struct qb_keras_array array = {.layer = layer, .name = name, .dims = (int)record->dims, .count = 1};
    bool sound = layer && record->dims <= QB_KERAS_MAX_DIMS;
    for (uint32_t i = 0; sound && i < record->dims; i++) {
        array.shape[i] = (size_t)record->shape[i];
        sound = !__builtin_mul_overflow(array.count, array.shape[i], &array.count);
    }
    if (!sound || array.count > record->data_size || array.count * sizeof(float) != record->data_size) {
        return astray(err);
    }
    array.data = qb_arena_memdup(arena, data, (size_t)record->data_size);
    if (!array.data) {
        return qb_fail_memory(err, (unsigned long)record->data_size);
    }
    out->arrays[out->count++] = array;
    return QB_OK;
}

/* `records` come from a process that a damaged file may have led astray: nothing in them is believed. */
static enum qb_status parse(const struct qb_blob *records, int wait_status, struct qb_arena *arena,
                            struct qb_keras_file *out, struct qb_error *err)
{
    struct qb_keras_record record;
    const char *layer = NULL;
    out->arrays = qb_arena_array(arena, records->size / sizeof record, sizeof *out->arrays);
    if (!out->arrays) {
        return qb_fail_memory(err, records->size);
    }
    for (size_t at = 0;;) {
        const uint8_t *const header = take(records, &at, sizeof record);
        if (!header) {
            break;
        }
        memcpy(&record, header, sizeof record);
        const uint8_t *const text = take(records, &at, record.name_size);
        const uint8_t *const data = text ? take(records, &at, record.data_size) : NULL;
        if (!data) {
            break;
        }
        char *const name = qb_arena_array(arena, (size_t)record.name_size + 1, 1);
        if (!name) {
            return qb_fail_memory(err, (unsigned long)record.name_size + 1);
        }
        memcpy(name, text, (size_t)record.name_size);
        switch (record.kind) {
        case QB_KERAS_CONFIG: out->config = name; break;
        case QB_KERAS_LAYER: layer = name; break;
        case QB_KERAS_ARRAY: QB_TRY(keep_array(&record, layer, name, data, arena, out, err)); break;
        case QB_KERAS_ERROR:
            return qb_fail(err, record.status == QB_EUNSUPPORTED ? QB_EUNSUPPORTED : QB_EINPUT, "%s", name);
        case QB_KERAS_END: return out->config ? QB_OK : astray(err);
        default: return astray(err);
        }
    }
    if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGXCPU) {
        return qb_fail(err, QB_EINPUT, "libhdf5 found no end within %d seconds: the file is damaged",
                       CHILD_SECONDS);
    }
    return WIFSIGNALED(wait_status)
               ? qb_fail(err, QB_EINPUT, "libhdf5 stopped with signal %d: the file is damaged",
                         WTERMSIG(wait_status))
               : qb_fail(err, QB_EINPUT, "libhdf5 stopped half-way: the file is damaged");
}

enum qb_status qb_keras_file_read(const char *path, const struct qb_blob *file, struct qb_arena *arena,
                                  struct qb_keras_file *out, struct qb_error *err)
{
    struct qb_blob records = {0};
    struct qb_keras_file result = {0};
    int wait_status = 0;
    enum qb_status status = run_child(file, &records, &wait_status, err);
    if (status == QB_OK) {
        status = parse(&records, wait_status, arena, &result, err);
    }
    free(records.data);
    if (status != QB_OK) {
        return qb_fail_prefix(err, "%s", path);
    }
    *out = result;
    return QB_OK;
}
