/* The original fork-per-connection uppercase server with its faults mended:
 * a long backlog, complete writes, an end at end of file, and a failing accept
 * or fork that costs one connection and not the server.
 *
 *     forkserver [-b BUFFER_BYTES] [-q] PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKLOG 4096
#define DEFAULT_BUFFER 80

static void fatal(const char *what) {
    perror(what);
    exit(1);
}

static int write_all(int fd, const char *data, size_t length) {
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return -1;
        data += written;
        length -= (size_t)written;
    }
    return 0;
}

static void serve(int connection, size_t buffer_bytes) {
    char buffer[buffer_bytes];
    for (;;) {
        ssize_t got = read(connection, buffer, buffer_bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        if (got >= 4 && memcmp(buffer, "quit", 4) == 0) return;
        for (ssize_t i = 0; i < got; ++i) buffer[i] = (char)toupper((unsigned char)buffer[i]);
        if (write_all(connection, buffer, (size_t)got) < 0) return;
    }
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) fatal("socket");
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) fatal("setsockopt");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fatal("bind");
    if (listen(listener, BACKLOG) < 0) fatal("listen");
    return listener;
}

static void accept_for_ever(int listener, size_t buffer_bytes, int quiet) {
    for (;;) {
        struct sockaddr_in client;
        socklen_t client_length = sizeof client;
        char text[INET_ADDRSTRLEN];
        int connection = accept(listener, (struct sockaddr *)&client, &client_length);
        if (connection < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            perror("accept");
            usleep(10000); /* most likely out of descriptors: let some connections end */
            continue;
        }
        if (!quiet)
            printf("package received from %s:%d\n",
                   inet_ntop(AF_INET, &client.sin_addr, text, sizeof text),
                   ntohs(client.sin_port));
        pid_t pid = fork();
        if (pid == 0) {
            close(listener);
            serve(connection, buffer_bytes);
            close(connection);
            _exit(0);
        }
        if (pid < 0) perror("fork");
        close(connection);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}

int main(int argc, char **argv) {
    long buffer_bytes = DEFAULT_BUFFER;
    int quiet = 0, option;
    while ((option = getopt(argc, argv, "b:q")) != -1) {
        if (option == 'b')
            buffer_bytes = atol(optarg);
        else if (option == 'q')
            quiet = 1;
        else
            return 2;
    }
    if (optind + 1 != argc || buffer_bytes < 4 || buffer_bytes > 1 << 20) {
        fprintf(stderr, "usage: forkserver [-b BUFFER_BYTES] [-q] PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0); /* a full line at a time: nothing for a child to repeat */
    accept_for_ever(listen_on(atoi(argv[optind])), (size_t)buffer_bytes, quiet);
}
