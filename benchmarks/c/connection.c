#define _GNU_SOURCE
#include "connection.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

long failures[FAILURE_KINDS];

static unsigned long serial;

double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

long failure_count(void) {
    long sum = 0;
    for (int kind = 0; kind < FAILURE_KINDS; ++kind) sum += failures[kind];
    return sum;
}

int rotated_socket(int flags) {
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) return -1;
    source.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(serial++ % 199));
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)&source, sizeof source) == 0)
        return fd;
    close(fd);
    return -1;
}

int connect_to(int fd, int port) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, (struct sockaddr *)&server, sizeof server);
}

void finish(struct connection *c) {
    if (c->fd >= 0) close(c->fd); /* leaves the epoll set, too */
    c->fd = -1;
}

static enum progress fail(struct connection *c, enum failure kind) {
    ++failures[kind];
    finish(c);
    return FAILED;
}

int expired(const struct connection *c) {
    return c->fd >= 0 && !c->answered && now() - c->began > EXCHANGE_TIMEOUT;
}

void begin(struct connection *c, int epoll, int port, double due) {
    struct epoll_event wanted = {.events = EPOLLOUT | EPOLLIN | EPOLLET, .data.ptr = c};
    c->answered = c->connected = c->received = 0;
    c->due = due;
    c->began = now();
    c->fd = rotated_socket(SOCK_NONBLOCK);
    if (c->fd < 0 || (connect_to(c->fd, port) < 0 && errno != EINPROGRESS) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &wanted) < 0)
        fail(c, FAILED_CONNECT);
}

/* Every message has a number of its own, so that a mixed-up reply is noticed. */
static int send_message(struct connection *c) {
    char message[MESSAGE_BYTES + 1];
    snprintf(message, sizeof message, "message %015lu, please\n", serial % 1000000000000000ul);
    for (int i = 0; i < MESSAGE_BYTES; ++i)
        c->expected[i] = (char)toupper((unsigned char)message[i]);
    return send(c->fd, message, MESSAGE_BYTES, MSG_NOSIGNAL) == MESSAGE_BYTES;
}

enum progress advance(struct connection *c, uint32_t events) {
    char reply[MESSAGE_BYTES + 1];
    if (!c->connected) {
        int error = 0;
        socklen_t length = sizeof error;
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return UNDER_WAY;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error) return fail(c, FAILED_CONNECT);
        c->connected = 1;
        if (!send_message(c)) return fail(c, FAILED_IO);
    }
    for (;;) {
        ssize_t got = recv(c->fd, reply, sizeof reply, 0);
        if (got < 0 && errno == EAGAIN) return UNDER_WAY;
        if (got <= 0) return fail(c, FAILED_IO);
        if (c->received + got > MESSAGE_BYTES ||
            memcmp(reply, c->expected + c->received, (size_t)got) != 0)
            return fail(c, FAILED_REPLY);
        c->received += (int)got;
        if (c->received == MESSAGE_BYTES) {
            c->answered = 1;
            return ANSWERED;
        }
    }
}
