/* A tiny HTTP server: see server.h. One request a connection. */
#include "server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "testing.h"

static void send_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size) {
        const ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        p += n;
        size -= (size_t)n;
    }
}

static void answer(struct server *s, int fd)
{
    char request[4096] = "", head[256];
    size_t got = 0;
    while (!strstr(request, "\r\n\r\n") && got + 1 < sizeof request) {
        const ssize_t n = recv(fd, request + got, sizeof request - 1 - got, 0);
        if (n <= 0) {
            return;
        }
        got += (size_t)n;
        request[got] = 0;
    }
    const char *const range = strstr(request, "Range: bytes=");
    const long long from = range ? atoll(range + strlen("Range: bytes=")) : 0;
    s->last_from = from;
    s->requests++;
    size_t start = 0;
    if (s->mode == SERVER_ABSENT) {
        snprintf(head, sizeof head,
                 "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        send_all(fd, head, strlen(head));
        return;
    }
    if (s->mode == SERVER_GOOD && range && (size_t)from >= s->size) {
        snprintf(head, sizeof head,
                 "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        send_all(fd, head, strlen(head));
        return;
    }
    if (s->mode == SERVER_GOOD && range) {
        start = (size_t)from;
        snprintf(head, sizeof head,
                 "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\nContent-Length: %zu\r\n"
                 "Connection: close\r\n\r\n",
                 start, s->size - 1, s->size, s->size - start);
    } else {
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                 s->size);
    }
    send_all(fd, head, strlen(head));
    const size_t promised = s->size - start;
    send_all(fd, s->body + start, s->mode == SERVER_CUTS ? promised / 2 : promised);
}

static void *serve(void *ctx)
{
    struct server *const s = ctx;
    for (int fd; (fd = accept(s->fd, NULL, NULL)) >= 0;) {
        answer(s, fd);
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    return NULL;
}

void server_start(struct server *s, enum server_mode mode, const uint8_t *body, size_t size)
{
    *s = (struct server){.mode = mode, .body = body, .size = size};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &length), 0);
    /* A machine without any network may lack the loopback device, too. The server sees a connection that asks
     * nothing. */
    const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int reached = connect(probe, (struct sockaddr *)&address, length);
    close(probe);
    if (reached != 0) {
        close(s->fd);
        print_message("SKIP: 127.0.0.1 cannot be reached\n");
        skip();
    }
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u/cifar.tar.gz", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR); /* wakes accept */
    pthread_join(s->thread, NULL);
    close(s->fd);
}
