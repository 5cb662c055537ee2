/* One connection: send a great many bytes and read them back at the same time. */
#define _GNU_SOURCE
#include "load.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 65536

static char sent_pattern[CHUNK], expected_pattern[CHUNK];

static void fill_patterns(void) {
    for (int i = 0; i < CHUNK; ++i) {
        sent_pattern[i] = (char)('a' + i % 26); /* the alphabet never spells "quit" */
        expected_pattern[i] = (char)toupper((unsigned char)sent_pattern[i]);
    }
}

static int send_some(int fd, long long *sent, long long total) {
    size_t offset = (size_t)(*sent % CHUNK);
    long long left = total - *sent;
    size_t length = CHUNK - offset;
    if ((long long)length > left) length = (size_t)left;
    ssize_t done = send(fd, sent_pattern + offset, length, MSG_NOSIGNAL);
    if (done < 0) return errno == EAGAIN ? 0 : errno;
    *sent += done;
    return 0;
}

static int receive_some(int fd, struct bulk_result *result) {
    char buffer[CHUNK];
    size_t offset = (size_t)(result->received % CHUNK);
    ssize_t got = recv(fd, buffer, CHUNK - offset, 0);
    if (got == 0) return ECONNRESET;
    if (got < 0) return errno == EAGAIN ? 0 : errno;
    if (memcmp(buffer, expected_pattern + offset, (size_t)got) != 0) result->wrong = 1;
    result->received += got;
    return 0;
}

struct bulk_result run_bulk(const struct plan *plan) {
    struct bulk_result result = {0};
    long long sent = 0;
    double began = now();
    int fd = rotated_socket(0);
    fill_patterns();
    if (fd < 0 || connect_to(fd, plan->port) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        result.error = errno;
    while (!result.error && !result.wrong && result.received < plan->bytes) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (sent < plan->bytes) wait.events |= POLLOUT;
        if (now() - began > plan->seconds || poll(&wait, 1, 1000) < 0)
            result.error = ETIMEDOUT;
        if (!result.error && (wait.revents & POLLOUT))
            result.error = send_some(fd, &sent, plan->bytes);
        if (!result.error && (wait.revents & (POLLIN | POLLHUP | POLLERR)))
            result.error = receive_some(fd, &result);
    }
    result.seconds = now() - began;
    if (fd >= 0) close(fd);
    return result;
}
