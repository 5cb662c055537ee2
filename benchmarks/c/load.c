/* The load generator: one thread, one epoll, one JSON object on standard output.
 *
 *     load closed PORT -n CLIENTS -w WARMUP -s SECONDS    each client: connect, ask, read, close
 *     load open   PORT -r RATE -w WARMUP -s SECONDS       on a fixed schedule; latencies
 *     load idle   PORT -n CLIENTS -s SECONDS              open, have served once, keep until
 *                                                         standard input ends: two JSON objects
 *     load bulk   PORT -b BYTES -s SECONDS                one connection; -s is the time limit
 */
#define _GNU_SOURCE
#include "load.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define SWEEP 0.05       /* seconds between looks for timeouts and for clients to start again */
#define OPEN_SLOTS 8192  /* exchanges under way at most, open loop */
#define IDLE_AT_ONCE 64  /* connections being opened at a time, idle */

static int epoll;
static struct connection *connections;
static int connection_count;

static void make_connections(int count) {
    connection_count = count;
    connections = calloc((size_t)count, sizeof *connections);
    if (!connections || (epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        perror("load");
        exit(1);
    }
    for (int i = 0; i < count; ++i) connections[i].fd = -1;
}

/* Wait for events, at most until `until`; sub-millisecond, as a schedule needs it. */
static int wait_events(struct epoll_event *events, double until) {
    struct pollfd readable = {.fd = epoll, .events = POLLIN};
    double seconds = until - now();
    if (seconds < 0) seconds = 0;
    struct timespec timeout = {.tv_sec = (time_t)seconds};
    timeout.tv_nsec = (long)((seconds - (double)timeout.tv_sec) * 1e9);
    if (ppoll(&readable, 1, &timeout, NULL) <= 0) return 0;
    return epoll_wait(epoll, events, EVENTS, 0);
}

static void give_up_on_expired(void) {
    for (int i = 0; i < connection_count; ++i)
        if (expired(&connections[i])) {
            ++failures[FAILED_TIMEOUT];
            finish(&connections[i]);
        }
}

static void print_failures(void) {
    printf("\"errors\": %ld, \"kinds\": {\"connect\": %ld, \"io\": %ld, \"reply\": %ld, "
           "\"timeout\": %ld}}\n", failure_count(), failures[FAILED_CONNECT], failures[FAILED_IO],
           failures[FAILED_REPLY], failures[FAILED_TIMEOUT]);
    fflush(stdout);
}

static void run_closed(const struct plan *plan) {
    struct epoll_event events[EVENTS];
    double count_from = now() + plan->warmup, end = count_from + plan->seconds, sweep = 0;
    long total = 0, counted = 0;
    make_connections(plan->clients);
    for (double t = now(); t < end; t = now()) {
        if (t >= sweep) {
            give_up_on_expired();
            for (int i = 0; i < connection_count; ++i)
                if (connections[i].fd < 0) begin(&connections[i], epoll, plan->port, t);
            sweep = t + SWEEP;
        }
        int ready = wait_events(events, sweep < end ? sweep : end);
        for (int i = 0; i < ready; ++i) {
            struct connection *c = events[i].data.ptr;
            if (advance(c, events[i].events) != ANSWERED) continue;
            double answered = now();
            ++total;
            if (answered >= count_from && answered < end) ++counted;
            finish(c);
            begin(c, epoll, plan->port, answered);
        }
    }
    printf("{\"mode\": \"closed\", \"seconds\": %.3f, \"connections\": %ld, \"total\": %ld, ",
           plan->seconds, counted, total);
    print_failures();
}

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static struct connection *free_connection(void) {
    static int next;
    for (int tried = 0; tried < connection_count; ++tried) {
        struct connection *c = &connections[next];
        next = (next + 1) % connection_count;
        if (c->fd < 0) return c;
    }
    return NULL;
}

static void run_open(const struct plan *plan) {
    struct epoll_event events[EVENTS];
    double start = now(), end = start + plan->warmup + plan->seconds, sweep = 0;
    long planned = (long)((plan->warmup + plan->seconds) * plan->rate), begun = 0, counted = 0;
    double *latencies = calloc((size_t)planned + 1, sizeof *latencies);
    make_connections(OPEN_SLOTS);
    long done = 0;
    for (double t = start; latencies && done + failure_count() < planned; t = now()) {
        if (t >= end + EXCHANGE_TIMEOUT + 1) break;
        for (; begun < planned && start + (double)begun / plan->rate <= t; ++begun) {
            struct connection *c = free_connection();
            if (c)
                begin(c, epoll, plan->port, start + (double)begun / plan->rate);
            else
                ++failures[FAILED_TIMEOUT]; /* thousands are waiting already */
        }
        if (t >= sweep) {
            give_up_on_expired();
            sweep = t + SWEEP;
        }
        double due = start + (double)begun / plan->rate;
        int ready = wait_events(events, begun < planned && due < sweep ? due : sweep);
        for (int i = 0; i < ready; ++i) {
            struct connection *c = events[i].data.ptr;
            if (advance(c, events[i].events) != ANSWERED) continue;
            ++done;
            if (c->due >= start + plan->warmup) latencies[counted++] = now() - c->due;
            finish(c);
        }
    }
    failures[FAILED_TIMEOUT] += planned - done - failure_count();
    qsort(latencies, (size_t)counted, sizeof *latencies, by_value);
    printf("{\"mode\": \"open\", \"rate\": %.0f, \"connections\": %ld, ", plan->rate, counted);
    if (counted > 0)
        printf("\"min_ms\": %.4f, \"median_ms\": %.4f, \"p99_ms\": %.4f, ", latencies[0] * 1e3,
               latencies[counted / 2] * 1e3, latencies[counted * 99 / 100] * 1e3);
    print_failures();
}

static int still_open(const struct connection *c) {
    char byte;
    return c->fd >= 0 && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

static void run_idle(const struct plan *plan) {
    struct epoll_event events[EVENTS];
    double end = now() + plan->seconds, sweep = 0;
    int begun = 0, open = 0, alive = 0;
    make_connections(plan->clients);
    for (double t = now(); t < end && open + failure_count() < plan->clients; t = now()) {
        while (begun < plan->clients && begun - open - failure_count() < IDLE_AT_ONCE)
            begin(&connections[begun++], epoll, plan->port, t);
        if (t >= sweep) {
            give_up_on_expired();
            sweep = t + SWEEP;
        }
        int ready = wait_events(events, sweep);
        for (int i = 0; i < ready; ++i) {
            struct connection *c = events[i].data.ptr;
            if (!c->answered && advance(c, events[i].events) == ANSWERED) ++open;
        }
    }
    printf("{\"mode\": \"idle\", \"open\": %d, ", open);
    print_failures();
    while (getchar() != EOF) {
    }
    for (int i = 0; i < begun; ++i) alive += still_open(&connections[i]);
    printf("{\"mode\": \"idle\", \"open\": %d, \"alive\": %d, ", open, alive);
    print_failures();
}

static void report_bulk(const struct plan *plan) {
    struct bulk_result result = run_bulk(plan);
    printf("{\"mode\": \"bulk\", \"seconds\": %.4f, \"bytes\": %lld, \"errors\": %d, "
           "\"kinds\": {\"reply\": %d, \"errno\": %d}}\n", result.seconds, result.received,
           (result.error != 0) + result.wrong, result.wrong, result.error);
}

static void prepare_process(const struct plan *plan) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1000);
    signal(SIGPIPE, SIG_IGN);
    alarm((unsigned)(plan->warmup + plan->seconds) + 600); /* whatever happens, an end */
}

int main(int argc, char **argv) {
    struct plan plan = {.clients = 64, .rate = 200, .seconds = 5, .bytes = 1 << 20};
    const char *mode = argc > 1 ? argv[1] : "";
    int option;
    plan.port = argc > 2 ? atoi(argv[2]) : 0;
    optind = 3;
    while ((option = getopt(argc, argv, "n:r:w:s:b:")) != -1) {
        if (option == 'n') plan.clients = atoi(optarg);
        if (option == 'r') plan.rate = atof(optarg);
        if (option == 'w') plan.warmup = atof(optarg);
        if (option == 's') plan.seconds = atof(optarg);
        if (option == 'b') plan.bytes = atoll(optarg);
    }
    prepare_process(&plan);
    if (plan.port > 0 && !strcmp(mode, "closed")) run_closed(&plan);
    else if (plan.port > 0 && !strcmp(mode, "open")) run_open(&plan);
    else if (plan.port > 0 && !strcmp(mode, "idle")) run_idle(&plan);
    else if (plan.port > 0 && !strcmp(mode, "bulk")) report_bulk(&plan);
    else {
        fprintf(stderr, "usage: load closed|open|idle|bulk PORT [options]\n");
        return 2;
    }
    return 0;
}
