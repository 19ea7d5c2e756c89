/* A tiny HTTP server on the loopback interface that serves one body, well or badly. */
#ifndef QB_TESTS_DATA_SERVER_H
#define QB_TESTS_DATA_SERVER_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum server_mode {
    SERVER_GOOD,     /* honours Range: 206, or 416 beyond the end */
    SERVER_NO_RANGE, /* always 200 and the whole body */
    SERVER_CUTS,     /* promises everything, closes after half of what it promised */
    SERVER_ABSENT,   /* 404 */
};

struct server {
    enum server_mode mode;
    const uint8_t *body;
    size_t size;
    char url[64];
    unsigned requests;   /* answered so far; read after a fetch has ended */
    long long last_from; /* the start that the last request asked for, 0 without Range */
    int fd;
    pthread_t thread;
};

void server_start(struct server *server, enum server_mode mode, const uint8_t *body, size_t size);
void server_stop(struct server *server);

#endif
