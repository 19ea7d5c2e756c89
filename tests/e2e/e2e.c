/* Running the installed program: see e2e.h. */
#include "e2e.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "data/dataset.h"

enum { MAX_ARGS = 64 };

static char *root, work[4096], binary[4096], data_dir[4096];

int e2e_setup(void **state)
{
    (void)state;
    struct qb_error err = {0};
    char *data = NULL, command[8192];
    if (qb_data_locate(NULL, &data, &err) == QB_OK) {
        char *const real = realpath(data, NULL);
        snprintf(data_dir, sizeof data_dir, "%s", real ? real : data);
        free(real);
        free(data);
    }
    const char *const build = getenv("QB_BUILD_DIR");
    root = qbt_mkdtemp();
    snprintf(work, sizeof work, "%s/work", root);
    snprintf(binary, sizeof binary, "%s/prefix/bin/qbench", root);
    snprintf(command, sizeof command,
             "cmake --install '%s' --prefix '%s/prefix' >'%s/install.log' 2>&1 && mkdir '%s'",
             build ? build : ".", root, root, work);
    if (system(command) != 0) {
        print_error("%s failed\n", command);
        return -1;
    }
    return 0;
}

int e2e_teardown(void **state)
{
    (void)state;
    qbt_rmtree(root);
    return 0;
}

static void exec_child(const char *env, char *args, bool shell, int out, int err)
{
    char sh[] = "/bin/sh", option[] = "-c";
    char *argv[MAX_ARGS] = {binary};
    int n = 1;
    if (shell) {
        argv[0] = sh;
        argv[n++] = option;
        argv[n++] = args;
        setenv("QBENCH", binary, 1);
    }
    for (char *save = NULL, *word = shell ? NULL : strtok_r(args, " ", &save); word && n < MAX_ARGS - 1;
         word = strtok_r(NULL, " ", &save)) {
        argv[n++] = word;
    }
    const int null = open("/dev/null", O_RDONLY);
    if (chdir(work) != 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) {
        _exit(99);
    }
    setenv("HOME", "/nonexistent", 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("QB_CACHE_DIR");
    unsetenv("QB_ISA");
    unsetenv("QB_SHARE_DIR");
    if (data_dir[0]) {
        setenv("QB_DATA_DIR", data_dir, 1);
    }
    if (env) {
        char *const copy = strdup(env);
        char *const equal = copy ? strchr(copy, '=') : NULL;
        if (equal) {
            *equal = 0;
            setenv(copy, equal + 1, 1);
        }
    }
    execv(argv[0], argv);
    _exit(98);
}

static char *read_and_remove(const char *path)
{
    struct qb_blob blob = {0};
    struct qb_error err = {0};
    qbt_ok(qb_file_read(path, 1 << 26, &blob, &err), &err);
    unlink(path);
    return (char *)blob.data;
}

static struct e2e_result run(const char *env, const char *args, bool shell, unsigned interrupt_after)
{
    char out[4200], errors[4200];
    snprintf(out, sizeof out, "%s/stdout", root);
    snprintf(errors, sizeof errors, "%s/stderr", root);
    char *const copy = strdup(args);
    const int fd_out = open(out, O_CREAT | O_TRUNC | O_WRONLY, 0600),
              fd_err = open(errors, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(copy && fd_out >= 0 && fd_err >= 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        exec_child(env, copy, shell, fd_out, fd_err);
    }
    free(copy);
    close(fd_out);
    close(fd_err);
    if (interrupt_after) {
        const struct timespec wait = {interrupt_after / 1000, (long)(interrupt_after % 1000) * 1000000};
        nanosleep(&wait, NULL);
        kill(pid, SIGINT);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    struct e2e_result r = {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
    r.out = read_and_remove(out);
    r.err = read_and_remove(errors);
    return r;
}

#define FORMAT_ARGS(buffer, last)                                                                            \
    do {                                                                                                     \
        va_list list;                                                                                        \
        va_start(list, last);                                                                                \
        vsnprintf(buffer, sizeof buffer, last, list);                                                        \
        va_end(list);                                                                                        \
    } while (0)

struct e2e_result e2e_run(const char *env, const char *args, ...)
{
    char text[8192];
    FORMAT_ARGS(text, args);
    return run(env, text, false, 0);
}

struct e2e_result e2e_shell(const char *env, const char *script)
{
    return run(env, script, true, 0);
}

struct e2e_result e2e_run_interrupted(unsigned milliseconds, const char *args)
{
    return run(NULL, args, false, milliseconds);
}

void e2e_free(struct e2e_result *result)
{
    free(result->out);
    free(result->err);
    *result = (struct e2e_result){0};
}

void e2e_expect_error(const char *env, int code, const char *needle, const char *args, ...)
{
    char text[8192];
    FORMAT_ARGS(text, args);
    struct e2e_result r = run(env, text, false, 0);
    const char *const newline = strchr(r.err, '\n');
    if (r.code != code || strncmp(r.err, "qbench: ", 8) != 0 || !strstr(r.err, needle) || !newline ||
        newline[1]) {
        print_error("qbench %s: exit code %d (wanted %d), stderr (wanted one line with \"%s\"):\n%s", text,
                    r.code, code, needle, r.err);
        fail();
    }
    e2e_free(&r);
}

const char *e2e_path(const char *name)
{
    static char ring[8][4500];
    static unsigned next;
    char *const out = ring[next++ % 8];
    snprintf(out, sizeof ring[0], "%s/%s", work, name);
    return out;
}

int e2e_entries(void)
{
    int n = 0;
    DIR *const dir = opendir(work);
    assert_non_null(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n - 2;
}

int e2e_have_data(void)
{
    return data_dir[0] != 0;
}

void e2e_require_data(void)
{
    if (!e2e_have_data()) {
        print_message("SKIP: CIFAR-10 is not on this machine (qbench fetch cifar10)\n");
        skip();
    }
}
