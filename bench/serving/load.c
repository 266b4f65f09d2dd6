/* A load generator for HTTP/1.1 over keep-alive connections, in one thread.
 *
 * Closed loop (no --rate): every connection sends its next request after its answer.
 * Open loop (--rate R): request i is due at start + i / R, whatever the server does; it goes out
 * on a connection that is idle, the longest idle one first, and where none is it waits for one.
 * Its latency is counted from the time at which it was due, so nothing that waits is left out;
 * what waits at the end is still sent, and what is not within the time-out is told as not sent.
 *
 * A request is never sent twice. What fails is counted by status, or by kind: "connection"
 * (refused, reset or closed before an answer began), "short" (closed within one), "timeout",
 * "malformed". The connection is then opened anew, for the next request.
 *
 * Prints one JSON object; with --records FILE also one record for each request.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_REQUESTS = 256, MOST_MARKS = 256, MARK_BYTES = 64, BUFFER = 1 << 16, LARGEST = 1 << 26 };
enum { CONNECTION = -1, SHORT = -2, TIMEOUT = -3, MALFORMED = -4 };
static const char *KINDS[] = {"connection", "short", "timeout", "malformed"};

/* Times are seconds of CLOCK_MONOTONIC; `status` is HTTP's or one of the kinds above. */
typedef struct { double due, sent, done; int32_t status, mark; } Record;
typedef struct {
    int fd, is_busy, is_connecting, is_close, is_chunked;
    size_t request, n_sent, n_read, size, head, body;
    double due, sent;
    char *buffer;
    int next_idle;
} Connection;
typedef struct { char text[MARK_BYTES]; long n; double first, last; } Mark;

static struct sockaddr_in address;
static struct { char *bytes; size_t size; } requests[MOST_REQUESTS];
static Mark marks[MOST_MARKS];
static Connection *connections;
static Record *records;
static double *waiting; /* due times of what found no idle connection; a ring */
static size_t n_requests, n_marks, n_records, most_records, n_waiting, first_waiting, turn;
static int n_connections = 32, epoll, is_over, idle_first = -1, idle_last = -1;
static double rate, seconds = 5, warm, timeout_s = 30, bin_s = 0.1, began, stall, stall_at, lag;
static double silent_since, now;
static long outstanding, n_idle_closed, n_reconnects;
static const char *key;

static double clock_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "wrong");
    exit(2);
}

static void put_idle(int at) {
    connections[at].is_busy = 0;
    connections[at].next_idle = -1;
    if (idle_last >= 0) connections[idle_last].next_idle = at;
    else idle_first = at;
    idle_last = at;
}

static void watch(int at, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u32 = (uint32_t)at};
    if (epoll_ctl(epoll, operation, connections[at].fd, &event)) fail("epoll_ctl");
}

static void open_one(int at) {
    Connection *c = &connections[at];
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    c->is_connecting = 1;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        c->is_connecting = -1; /* tells itself at the first write */
    watch(at, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static int mark_of(const Connection *c) {
    const char *found = memmem(c->buffer, c->n_read, key, strlen(key)), *from, *to;
    size_t at, size;
    if (!found) return -1;
    from = found + strlen(key);
    for (to = from; to < c->buffer + c->n_read && *to != '"' && *to != '\r' && *to != ','; to++) {}
    size = (size_t)(to - from) < MARK_BYTES - 1 ? (size_t)(to - from) : MARK_BYTES - 1;
    for (at = 0; at < n_marks; at++)
        if (strlen(marks[at].text) == size && !memcmp(marks[at].text, from, size)) return (int)at;
    if (n_marks == MOST_MARKS) return -1;
    memcpy(marks[n_marks].text, from, size);
    return (int)n_marks++;
}

/* What a request came to. Silence is measured only while somebody waits for an answer. */
static void ended(Connection *c, int status) {
    int mark = key && status > 0 ? mark_of(c) : -1;
    outstanding--;
    if (c->due >= began) {
        if (n_records == most_records) fail("more requests than room for records");
        records[n_records++] = (Record){c->due, c->sent, now, status, mark};
        if (mark >= 0) {
            if (!marks[mark].n++) marks[mark].first = now;
            marks[mark].last = now;
        }
    }
    if (status > 0) {
        double from = silent_since > began ? silent_since : began;
        if (now - from > stall && now > began) { stall = now - from; stall_at = from - began; }
        silent_since = now;
    }
}

static void reopen(int at) {
    close(connections[at].fd);
    connections[at].n_read = 0;
    n_reconnects++;
    open_one(at);
}

static void send_more(int at);

static void begin(int at, double due) {
    Connection *c = &connections[at];
    c->is_busy = 1;
    c->due = due;
    c->sent = now;
    c->request = turn++ % n_requests;
    c->n_sent = c->n_read = c->head = 0;
    if (!c->is_connecting) send_more(at);
}

/* The next request for a connection that has become free, if there is one. */
static void go_on(int at) {
    if (is_over && !n_waiting) { connections[at].is_busy = 0; return; }
    if (rate > 0 && n_waiting) {
        double due = waiting[first_waiting++ % most_records];
        n_waiting--;
        begin(at, due);
    } else if (rate > 0) {
        put_idle(at);
    } else {
        outstanding++;
        begin(at, now);
    }
}

static void broken(int at, int kind) {
    if (connections[at].is_busy) {
        ended(&connections[at], kind);
        reopen(at);
        /* A refused connection is tried again after a moment: the next event says. */
        go_on(at);
    } else {
        n_idle_closed++;
        reopen(at);
    }
}

static void send_more(int at) {
    Connection *c = &connections[at];
    size_t size = requests[c->request].size;
    while (c->n_sent < size) {
        ssize_t n = send(c->fd, requests[c->request].bytes + c->n_sent, size - c->n_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) { watch(at, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT); return; }
        if (n < 0) return; /* the read side tells */
        c->n_sent += (size_t)n;
    }
    watch(at, EPOLL_CTL_MOD, EPOLLIN);
}

static int read_head(Connection *c) {
    char *end = memmem(c->buffer, c->n_read, "\r\n\r\n", 4), *line;
    if (!end) return 0;
    c->head = (size_t)(end - c->buffer) + 4;
    c->body = c->is_close = c->is_chunked = 0;
    for (line = memchr(c->buffer, '\n', c->head) + 1; line < end; line = strchr(line, '\n') + 1) {
        if (!strncasecmp(line, "content-length:", 15)) c->body = strtoul(line + 15, NULL, 10);
        if (!strncasecmp(line, "transfer-encoding: chunked", 26)) c->is_chunked = 1;
        if (!strncasecmp(line, "connection: close", 17)) c->is_close = 1;
    }
    return 1;
}

static void receive(int at) {
    Connection *c = &connections[at];
    for (;;) {
        ssize_t n;
        int is_whole, status;
        if (c->n_read + 1 >= c->size) {
            c->size *= 2;
            if (c->size > LARGEST || !(c->buffer = realloc(c->buffer, c->size))) fail("a large answer");
        }
        n = recv(c->fd, c->buffer + c->n_read, c->size - c->n_read - 1, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) { broken(at, c->n_read ? SHORT : CONNECTION); return; }
        c->n_read += (size_t)n;
        c->buffer[c->n_read] = 0;
        if (!c->is_busy) { broken(at, MALFORMED); return; }
        if (!c->head && !read_head(c)) continue;
        is_whole = c->is_chunked ? !memcmp(c->buffer + c->n_read - 5, "0\r\n\r\n", 5)
                                 : c->n_read >= c->head + c->body;
        if (!is_whole) continue;
        status = c->n_read > 12 && !memcmp(c->buffer, "HTTP/1.", 7) ? atoi(c->buffer + 9) : 0;
        if (status < 100 || (!c->is_chunked && c->n_read > c->head + c->body)) { broken(at, MALFORMED); return; }
        ended(c, status);
        if (c->is_close) reopen(at);
        go_on(at);
        return;
    }
}

static void happened(int at, uint32_t events) {
    Connection *c = &connections[at];
    if (c->is_connecting) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error || c->is_connecting < 0 || events & (EPOLLERR | EPOLLHUP)) {
            struct timespec moment = {0, 1000000};
            nanosleep(&moment, NULL);
            broken(at, CONNECTION);
            return;
        }
        c->is_connecting = 0;
        watch(at, EPOLL_CTL_MOD, EPOLLIN);
        if (c->is_busy) send_more(at);
        return;
    }
    if (events & EPOLLOUT && c->is_busy) send_more(at);
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive(at);
}

static void overdue(void) {
    int at;
    for (at = 0; at < n_connections; at++)
        if (connections[at].is_busy && now - connections[at].sent > timeout_s) broken(at, TIMEOUT);
}

/* Everything that is due by now; a stop of this process shows as `lag`. */
static void release(double start, double end, size_t *n_due) {
    while (start + (double)*n_due / rate <= now && start + (double)*n_due / rate < end) {
        double due = start + (double)(*n_due)++ / rate;
        if (now - due > lag && due >= began) lag = now - due;
        if (!outstanding++) silent_since = due;
        if (idle_first >= 0) {
            int at = idle_first;
            idle_first = connections[at].next_idle;
            if (idle_first < 0) idle_last = -1;
            begin(at, due);
        } else {
            waiting[(first_waiting + n_waiting++) % most_records] = due;
        }
    }
}

static void work(void) {
    struct epoll_event events[256];
    double start = clock_s(), end = start + warm + seconds, checked = start;
    size_t n_due = 0;
    int at, n;
    now = start;
    began = start + warm;
    for (at = 0; at < n_connections; at++) {
        connections[at].size = BUFFER;
        if (!(connections[at].buffer = malloc(BUFFER))) fail("malloc");
        open_one(at);
        go_on(at);
    }
    while (now < end + timeout_s + 1 && (!is_over || outstanding > 0)) {
        double next = rate > 0 && !is_over ? start + (double)n_due / rate : now + 0.01;
        double wait = next - now;
        struct timespec patience = {0, wait > 0 ? (wait < 0.01 ? (long)(wait * 1e9) : 10000000) : 0};
        n = epoll_pwait2(epoll, events, 256, &patience, NULL);
        now = clock_s();
        for (at = 0; at < n; at++) { happened((int)events[at].data.u32, events[at].events); }
        if (rate > 0 && !is_over) release(start, end, &n_due);
        if (now - checked > 0.1) { overdue(); checked = now; }
        if (now >= end && !is_over) {
            is_over = 1;
            if (outstanding > 0 && now - silent_since > stall) {
                stall = now - silent_since;
                stall_at = silent_since - began;
            }
        }
    }
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_share(const double *sorted, size_t n, double share) {
    size_t at = (size_t)(share * (double)n);
    return n ? 1e3 * sorted[at < n ? at : n - 1] : 0;
}

static void tell(void) {
    size_t n_bins = (size_t)(seconds / bin_s) + 1, at, n = 0, n_within = 0, n_ok = 0;
    long by_status[1000] = {0}, by_kind[5] = {0}, *counts = calloc(n_bins, sizeof *counts);
    double *times = malloc((n_records + 1) * sizeof *times), *worst = calloc(n_bins, sizeof *worst);
    const char *comma = "";
    for (at = 0; at < n_records; at++) {
        Record r = records[at];
        size_t bin = (size_t)((r.done - began) / bin_s);
        if (r.status > 0) by_status[r.status % 1000]++, times[n++] = r.done - r.due;
        else by_kind[-r.status]++;
        n_ok += r.status >= 200 && r.status < 300;
        n_within += r.status >= 200 && r.status < 300 && r.done < began + seconds;
        if (bin < n_bins && r.status > 0) {
            counts[bin]++;
            if (r.done - r.due > worst[bin]) worst[bin] = r.done - r.due;
        }
    }
    qsort(times, n, sizeof *times, by_size);
    printf("{\"n\":%zu,\"n_ok\":%zu,\"n_not_sent\":%zu,\"statuses\":{", n_records, n_ok, n_waiting);
    for (at = 1; at < 1000; at++)
        if (by_status[at]) printf("%s\"%zu\":%ld", comma, at, by_status[at]), comma = ",";
    printf("},\"errors\":{");
    for (at = 1, comma = ""; at < 5; at++)
        if (by_kind[at]) printf("%s\"%s\":%ld", comma, KINDS[at - 1], by_kind[at]), comma = ",";
    printf("},\"began_s\":%.6f,\"seconds\":%.3f,\"rate\":%.2f,", began, seconds, (double)n_within / seconds);
    printf("\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"p99_ms\":%.4f,\"p999_ms\":%.4f,\"max_ms\":%.4f,",
           at_share(times, n, 0.5), at_share(times, n, 0.9), at_share(times, n, 0.99),
           at_share(times, n, 0.999), n ? 1e3 * times[n - 1] : 0);
    printf("\"stall_ms\":%.3f,\"stall_at_s\":%.3f,\"lag_ms\":%.3f,", stall * 1e3, stall_at, lag * 1e3);
    printf("\"n_idle_closed\":%ld,\"n_reconnects\":%ld,\"marks\":[", n_idle_closed, n_reconnects);
    for (at = 0; at < n_marks; at++)
        printf("%s{\"text\":\"%s\",\"n\":%ld,\"first_s\":%.6f,\"last_s\":%.6f}", at ? "," : "",
               marks[at].text, marks[at].n, marks[at].first, marks[at].last);
    printf("],\"bin_s\":%g,\"counts\":[", bin_s);
    for (at = 0; at < n_bins; at++) printf("%s%ld", at ? "," : "", counts[at]);
    printf("],\"worst_ms\":[");
    for (at = 0; at < n_bins; at++) printf("%s%.3f", at ? "," : "", worst[at] * 1e3);
    printf("]}\n");
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    long size;
    if (!file || n_requests == MOST_REQUESTS || fseek(file, 0, SEEK_END)) fail(path);
    size = ftell(file);
    rewind(file);
    requests[n_requests].bytes = malloc((size_t)size);
    requests[n_requests].size = (size_t)size;
    if (fread(requests[n_requests++].bytes, 1, (size_t)size, file) != (size_t)size) fail(path);
    fclose(file);
}

int main(int n_words, char **words) {
    const char *target = NULL, *host = "127.0.0.1";
    int at, port = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1);
    for (at = 1; at + 1 < n_words; at += 2) {
        const char *name = words[at], *value = words[at + 1];
        if (!strcmp(name, "--host")) host = value;
        else if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--connections")) n_connections = atoi(value);
        else if (!strcmp(name, "--seconds")) seconds = atof(value);
        else if (!strcmp(name, "--warm")) warm = atof(value);
        else if (!strcmp(name, "--rate")) rate = atof(value);
        else if (!strcmp(name, "--timeout")) timeout_s = atof(value);
        else if (!strcmp(name, "--bin")) bin_s = atof(value);
        else if (!strcmp(name, "--mark")) key = value;
        else if (!strcmp(name, "--records")) target = value;
        else if (!strcmp(name, "--request")) read_request(value);
        else { errno = EINVAL; fail(name); }
    }
    errno = EINVAL;
    if (!port || !n_requests || n_connections < 1 || seconds <= 0 || bin_s <= 0) fail("arguments");
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail(host);
    most_records = (size_t)((rate > 0 ? rate * 1.1 : 200000) * (seconds + warm)) + 100000;
    connections = calloc((size_t)n_connections, sizeof *connections);
    records = malloc(most_records * sizeof *records);
    waiting = malloc(most_records * sizeof *waiting);
    epoll = epoll_create1(0);
    if (!connections || !records || !waiting || epoll < 0) fail("memory");
    work();
    tell();
    if (target) {
        FILE *file = fopen(target, "wb");
        if (!file || fwrite(records, sizeof *records, n_records, file) != n_records || fclose(file)) fail(target);
    }
    return 0;
}
