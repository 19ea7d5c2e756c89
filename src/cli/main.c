/* qbench: which int8 scheme should be deployed for this network on this CPU? Dispatches to the commands. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

const char *argp_program_version = "qbench " QB_VERSION;

static const struct cli_command commands[] = {
    {"run", "measure every combination of an experiment file and print the main table", cmd_run},
    {"quantize", "calibrate and quantize a model, write a QDQ ONNX file", cmd_quantize},
    {"evaluate", "accuracy of a float or quantized model, overall and per class", cmd_evaluate},
    {"inspect", "every layer of a model: shapes, parameters, MACs, ranges, scales", cmd_inspect},
    {"profile", "where the time of one image goes, layer by layer, engine beside engine", cmd_profile},
    {"sensitivity", "which layer costs the accuracy: each quantized alone, each kept float", cmd_sensitivity},
    {"trace", "every tensor of one image, integer and float, as .npy files with statistics", cmd_trace},
    {"report", "views of stored results: text, Markdown, CSV, JSON, SVG, HTML", cmd_report},
    {"fetch", "bring CIFAR-10, or the published weights, to the cache folder", cmd_fetch},
    {"schemes", "the schemes that are there, and what they reproduce", cmd_schemes},
    {"env", "this machine and this build", cmd_env},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void usage(FILE *out)
{
    fputs("Usage: qbench COMMAND [OPTION...]\n\n", out);
    for (int i = 0; i < COMMANDS; i++) {
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    }
    fputs("\n`qbench COMMAND --help` explains one. Exit codes: 0 fine; 1 a row failed or a verdict is "
          "negative;\n"
          "2 usage or bad input; 130 interrupted, finished rows kept.\n",
          out);
}

static volatile sig_atomic_t child;

void cli_child(pid_t pid)
{
    child = (sig_atomic_t)pid;
}

/* The first Ctrl-C asks the work to stop at the next safe place; another one, a second later or more, ends
 * the process: timeout(1) and some terminals send each signal twice. */
static void on_interrupt(int signal_number)
{
    static volatile uint64_t first;
    const int saved = errno;
    const uint64_t now = qb_now_ns();
    if (child > 0) {
        kill((pid_t)child, signal_number);
    }
    if (!qb_interrupted()) {
        first = now;
        qb_interrupt();
    } else if (now - first > 1000000000) {
        _exit(130);
    }
    errno = saved;
}

/* A stream that the caller closed (`>&-`) must not become the number of some file that is opened later. It is
 * opened the wrong way round, so that using it fails as before. */
static void occupy_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) {
            _exit(2);
        }
    }
}

/* The last words of every command, those of --help included, may still be in the buffer: a full disk shows
 * only here. */
static void finish_output(void)
{
    struct qb_error err = {0};
    if (cli_print("", &err) != QB_OK) {
        cli_error(&err);
        _exit(2);
    }
}

int main(int argc, char **argv)
{
    occupy_standard_streams();
    atexit(finish_output);
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts(argp_program_version);
        return 0;
    }
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            char name[64];
            snprintf(name, sizeof name, "qbench %s", commands[i].name);
            argv[1] = name;
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "qbench: \"%s\" is not a command; the commands are:", argv[1]);
    for (int i = 0; i < COMMANDS; i++) {
        fprintf(stderr, "%s %s", i ? "," : "", commands[i].name);
    }
    fputs("\n", stderr);
    return 2;
}
