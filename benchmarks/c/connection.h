/* One exchange with the server: connect, send a line, read it back in upper case. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdint.h>

#define MESSAGE_BYTES 32
#define EXCHANGE_TIMEOUT 10.0 /* seconds; a slower exchange counts as an error */

enum failure { FAILED_CONNECT, FAILED_IO, FAILED_REPLY, FAILED_TIMEOUT, FAILURE_KINDS };
enum progress { UNDER_WAY, ANSWERED, FAILED };

struct connection {
    int fd;           /* -1: free */
    int answered;     /* kept open, and of no further interest */
    int connected;
    int received;
    double due;       /* when it ought to have begun: latency counts from here */
    double began;
    char expected[MESSAGE_BYTES];
};

extern long failures[FAILURE_KINDS];

double now(void);
long failure_count(void);

/* The next address of 127.0.0.2 .. 127.0.0.200, so that connections in TIME_WAIT
 * do not use up the ports of one. Returns a socket bound to it, or -1. */
int rotated_socket(int flags);
int connect_to(int fd, int port);

void begin(struct connection *c, int epoll, int port, double due);
enum progress advance(struct connection *c, uint32_t events);
void finish(struct connection *c);
int expired(const struct connection *c);

#endif
