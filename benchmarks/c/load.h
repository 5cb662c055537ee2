/* What the modes of the load generator have in common. */
#ifndef LOAD_H
#define LOAD_H

#include "connection.h"

struct plan {
    int port;
    int clients;    /* closed: at a time; idle: to open */
    double rate;    /* open: connections a second */
    double warmup;  /* seconds before anything is counted */
    double seconds; /* seconds that count */
    long long bytes;
};

struct bulk_result {
    double seconds;
    long long received;
    int error;         /* an errno value, or 0 */
    int wrong;         /* bytes that were not the upper case of what was sent */
};

struct bulk_result run_bulk(const struct plan *plan);

#endif
