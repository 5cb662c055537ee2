/* Standard input to standard output in upper case, until end of file or a read
 * that begins with "quit": the program that inetd-like servers execute. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int write_all(const char *data, size_t length) {
    while (length > 0) {
        ssize_t written = write(1, data, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return -1;
        data += written;
        length -= (size_t)written;
    }
    return 0;
}

int main(void) {
    static char buffer[65536];
    for (;;) {
        ssize_t got = read(0, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0;
        if (got >= 4 && memcmp(buffer, "quit", 4) == 0) return 0;
        for (ssize_t i = 0; i < got; ++i) buffer[i] = (char)toupper((unsigned char)buffer[i]);
        if (write_all(buffer, (size_t)got) < 0) return 1;
    }
}
