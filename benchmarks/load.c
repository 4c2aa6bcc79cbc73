/* A load generator for one proxy (or the mock upstream itself), with every answer checked byte for byte.
 *
 * Two kinds of load over N keep-alive connections to 127.0.0.1:
 *   requests   closed loop (the next request as soon as a connection is free), or paced with --rate; paced latency is
 *              counted from the scheduled time, so a stall shows in every request that it delayed.
 *   --stream   N concurrent SSE streams; each chunk carries its send time, the delay per chunk is counted from there.
 *              --ramp spreads their beginnings, so that they do not end and begin anew all at once; delays and the
 *              chunks per second are then those of the time between the ramp and the end, when all of them are open.
 *
 * --loose is for proxies that write an answer anew: only its status, its text and its nonce are compared.
 *
 * It ends by itself, at the latest --patience seconds after the load, and prints one JSON object. Errors are counted by
 * kind and never stop the run; the first is described.
 */
#define _GNU_SOURCE
#include "completion.h"
#include "http.h"
#include "loop.h"

#include <stdarg.h>

#define EVENTS 256
#define READ_SIZE 65536
#define CONNECT_SECONDS 5
#define KEPT_LIMIT 65536

struct options {
    int port;
    const char *path;
    const char *authorization;
    const char *body_file;
    size_t connections;
    double seconds;
    uint64_t requests;
    double rate;
    double patience; /* seconds for answers still open when the load ends */
    double ramp;     /* seconds over which the connections begin, before --seconds */
    int is_stream;
    int is_loose;
    char headers[1024]; /* further ones, each with its line end */
};

static struct options options = {.path = "/v1/chat/completions", .authorization = "Bearer none", .connections = 32,
                                 .patience = 10};

/* Latencies in buckets of 1/64 of a power of two: any quantile is right to 1.6 %. */
#define SUB_BITS 6
#define SUB (1 << SUB_BITS)
struct histogram {
    uint64_t counts[64 * SUB];
    uint64_t total, sum_ns, max_ns;
};

static struct histogram latency, delay, first_byte;

enum error_kind { STATUS, BODY, CLOSED, FRAMING, UNFINISHED, CONNECT, ERROR_KINDS };
static const char *const error_names[] = {"status", "body", "closed", "framing", "unfinished", "connect"};
static uint64_t errors[ERROR_KINDS];
static char first_error[256];

struct connection {
    int fd;
    int is_busy;
    int is_wrong; /* the answer in progress has been counted as an error */
    int has_head;
    int has_finish, has_usage, has_end;
    unsigned chunks;
    uint64_t due_ns;
    char *request, *nonce;
    size_t sent;
    struct message reply;
    size_t expected_size, matched; /* loose: matched bytes have been kept */
    char *kept;
    char expected[BODY_LIMIT];
    size_t line_size;
    char line[EVENT_LIMIT];
};

static struct connection *connections;
static struct connection **idle; /* a ring: every connection gets its turn, so none grows cold */
static size_t idle_first, idle_count;
static int poller;
static char *body;
static size_t body_size, request_size, nonce_offset;
static int asks_for_usage;
static uint64_t issued, finished, chunks, reconnects, first_nonce, next_nonce;
static uint64_t steady_from_ns, steady_to_ns, steady_chunks; /* while every connection is in use */
static char scratch[READ_SIZE];

static size_t bucket_of(uint64_t ns)
{
    if (ns < SUB)
        return (size_t)ns;
    int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
    return (size_t)(shift + 1) * SUB + (size_t)((ns >> shift) - SUB);
}

static double bucket_middle_ns(size_t bucket)
{
    if (bucket < SUB)
        return (double)bucket;
    size_t shift = bucket / SUB - 1;
    return ((double)(SUB + bucket % SUB) + 0.5) * (double)(1ull << shift);
}

static void observe(struct histogram *h, uint64_t ns)
{
    h->counts[bucket_of(ns)]++;
    h->total++;
    h->sum_ns += ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

static double quantile_us(const struct histogram *h, double q)
{
    uint64_t wanted = (uint64_t)(q * (double)h->total), seen = 0;
    for (size_t i = 0; i < sizeof h->counts / sizeof *h->counts; i++) {
        seen += h->counts[i];
        if (seen > wanted)
            return bucket_middle_ns(i) / 1e3;
    }
    return (double)h->max_ns / 1e3;
}

__attribute__((format(printf, 3, 4))) static void wrong(struct connection *c, enum error_kind kind, const char *text, ...)
{
    va_list arguments;
    if (c->is_wrong)
        return;
    c->is_wrong = 1;
    errors[kind]++;
    if (first_error[0])
        return;
    va_start(arguments, text);
    vsnprintf(first_error, sizeof first_error, text, arguments);
    va_end(arguments);
}

static void put_idle(struct connection *c)
{
    c->is_busy = 0;
    idle[(idle_first + idle_count++) % options.connections] = c;
}

static struct connection *take_idle(void)
{
    struct connection *c = idle[idle_first];
    idle_first = (idle_first + 1) % options.connections;
    idle_count--;
    return c;
}

static int open_socket(struct connection *c)
{
    struct timeval limit = {.tv_sec = CONNECT_SECONDS};
    struct sockaddr_in address = loopback(options.port);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
        c->is_wrong = 0;
        wrong(c, CONNECT, "connect to 127.0.0.1:%d: %s", options.port, strerror(errno));
        close(c->fd);
        return -1;
    }
    send_at_once(c->fd);
    watch(poller, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
    return 0;
}

/* Connect and make idle. A target that cannot be reached costs the connection: it is counted, not retried for ever. */
static void open_connection(struct connection *c)
{
    c->is_busy = 0;
    if (!open_socket(c))
        put_idle(c);
}

static void reopen(struct connection *c)
{
    close(c->fd);
    reconnects++;
    open_connection(c);
}

/* The other side may end a connection that waits for its next request: its place in the ring stays. */
static void replace_idle(struct connection *c)
{
    close(c->fd);
    reconnects++;
    if (!open_socket(c))
        return;
    for (size_t left = idle_count; left; left--) {
        struct connection *other = take_idle();
        if (other != c)
            put_idle(other);
    }
}

static void give_up(struct connection *c, enum error_kind kind, const char *text)
{
    wrong(c, kind, "%s after %zu head bytes, status %d, %u chunks", text, c->reply.head_len, message_status(&c->reply),
          c->chunks);
    finished++;
    reopen(c);
}

static void send_request(struct connection *c)
{
    ssize_t sent = send(c->fd, c->request + c->sent, request_size - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        give_up(c, CLOSED, "connection lost while sending");
        return;
    }
    size_t before = c->sent;
    c->sent += sent > 0 ? (size_t)sent : 0;
    if (c->sent < request_size)
        watch(poller, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
    else if (before)
        watch(poller, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
}

static void begin(struct connection *c, uint64_t due_ns)
{
    char digits[NONCE_DIGITS + 1];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)next_nonce++);
    memcpy(c->nonce, nonce_offset ? digits : NO_NONCE, NONCE_DIGITS);
    if (nonce_offset)
        memcpy(c->request + nonce_offset, digits, NONCE_DIGITS);
    if (!options.is_stream)
        memcpy(c->expected + sizeof "{\"id\":\"chatcmpl-" NONCE_MARK - 1, c->nonce, NONCE_DIGITS);
    c->is_busy = 1;
    c->is_wrong = c->has_head = c->has_finish = c->has_usage = c->has_end = 0;
    c->chunks = 0;
    c->matched = c->line_size = c->sent = 0;
    c->due_ns = due_ns;
    message_reset(&c->reply, 1);
    issued++;
    send_request(c);
}

static size_t first_difference(const char *one, const char *other, size_t size)
{
    size_t at = 0;
    while (at < size && one[at] == other[at])
        at++;
    return at;
}

static void keep_body(void *owner, const char *data, size_t size)
{
    struct connection *c = owner;
    if (c->matched + size > KEPT_LIMIT) {
        wrong(c, BODY, "body longer than %d bytes: %.*s", KEPT_LIMIT, 80, c->kept);
        return;
    }
    memcpy(c->kept + c->matched, data, size);
    c->matched += size;
}

static int has_kept(const struct connection *c, const char *text, size_t size)
{
    return memmem(c->kept, c->matched, text, size) != NULL;
}

static void match_body(void *owner, const char *data, size_t size)
{
    struct connection *c = owner;
    size_t shown = size < 160 ? size : 160;
    if (message_status(&c->reply) != 200) {
        wrong(c, STATUS, "status %d: %.*s", message_status(&c->reply), (int)shown, data);
    } else if (c->matched + size > c->expected_size) {
        wrong(c, BODY, "body longer than %zu bytes: %.*s", c->expected_size, (int)shown, data);
    } else if (memcmp(c->expected + c->matched, data, size)) {
        size_t at = first_difference(c->expected + c->matched, data, size);
        wrong(c, BODY, "body differs at byte %zu: %.*s", c->matched + at, (int)(size - at < 80 ? size - at : 80), data + at);
    }
    c->matched += size;
}

/* A delta must be the next one of this stream in every byte; its clock reading is what we came for. */
static int is_next_delta(struct connection *c, uint64_t now)
{
    char event[EVENT_LIMIT];
    char *stop;
    size_t start = write_delta_start(event, c->nonce, c->chunks);
    if (c->line_size < start || memcmp(c->line, event, start))
        return 0;
    uint64_t sent_ns = strtoull(c->line + start, &stop, 10);
    if (stop != c->line + start + 20 || strcmp(stop, DELTA_END))
        return 0;
    if (now >= steady_from_ns && now < steady_to_ns) {
        observe(&delay, now > sent_ns ? now - sent_ns : 0);
        steady_chunks++;
    }
    chunks++;
    c->chunks++;
    return 1;
}

static int is_whole_event(struct connection *c, size_t size, const char *event)
{
    return c->line_size + 2 == size && !memcmp(c->line, event, c->line_size);
}

static void take_line(struct connection *c, uint64_t now)
{
    char event[EVENT_LIMIT];
    c->line[c->line_size] = 0;
    if (!c->line_size || c->is_wrong)
        return;
    if (c->has_end)
        wrong(c, BODY, "more after [DONE]: %.120s", c->line);
    else if (!c->has_finish && is_next_delta(c, now))
        return;
    else if (!c->has_finish && is_whole_event(c, write_finish(event, c->nonce), event))
        c->has_finish = 1;
    else if (c->has_finish && !c->has_usage && is_whole_event(c, write_usage(event, c->nonce, c->chunks), event))
        c->has_usage = 1;
    else if (c->has_finish && !strcmp(c->line, LAST_EVENT))
        c->has_end = 1;
    else
        wrong(c, BODY, "event after %u chunks: %.160s", c->chunks, c->line);
}

static void match_events(void *owner, const char *data, size_t size)
{
    struct connection *c = owner;
    uint64_t now = now_ns();
    if (message_status(&c->reply) != 200) {
        match_body(owner, data, size);
        return;
    }
    while (size) {
        const char *end = memchr(data, '\n', size);
        size_t part = end ? (size_t)(end - data) : size;
        if (c->line_size + part >= EVENT_LIMIT) {
            wrong(c, BODY, "a line of more than %d bytes", EVENT_LIMIT);
            return;
        }
        memcpy(c->line + c->line_size, data, part);
        c->line_size += part;
        if (end) {
            take_line(c, now);
            c->line_size = 0;
        }
        data += end ? part + 1 : part;
        size -= end ? part + 1 : part;
    }
}

static void check_answer(struct connection *c)
{
    int status = message_status(&c->reply);
    if (status != 200)
        wrong(c, STATUS, "status %d: %.*s", status, options.is_loose ? (int)(c->matched < 120 ? c->matched : 120) : 0,
              options.is_loose ? c->kept : "");
    else if (options.is_loose && !has_kept(c, ANSWER_END, sizeof ANSWER_END - 1))
        wrong(c, BODY, "the answer's text is missing: %.*s", (int)(c->matched < 160 ? c->matched : 160), c->kept);
    else if (options.is_loose && !has_kept(c, c->nonce, NONCE_DIGITS))
        wrong(c, BODY, "the answer belongs to another request: %.*s", (int)(c->matched < 160 ? c->matched : 160),
              c->kept);
    else if (options.is_loose)
        return;
    else if (!options.is_stream && c->matched != c->expected_size)
        wrong(c, BODY, "body of %zu bytes instead of %zu", c->matched, c->expected_size);
    else if (options.is_stream && !c->has_end)
        wrong(c, BODY, "stream ended without [DONE] after %u chunks", c->chunks);
    else if (options.is_stream && c->has_usage != asks_for_usage)
        wrong(c, BODY, c->has_usage ? "usage that nobody asked for" : "the usage event is missing");
}

static void finish(struct connection *c, uint64_t now, size_t surplus)
{
    check_answer(c);
    if (surplus)
        wrong(c, FRAMING, "%zu bytes after the end of the answer", surplus);
    if (!c->is_wrong)
        observe(&latency, now - c->due_ns);
    finished++;
    if (c->is_wrong || message_header_is(&c->reply, "connection", "close"))
        reopen(c);
    else
        put_idle(c);
}

static void read_answer(struct connection *c)
{
    ssize_t size = recv(c->fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN)
        return;
    if (!c->is_busy) {
        replace_idle(c);
        return;
    }
    if (size <= 0) {
        give_up(c, CLOSED, size ? strerror(errno) : "connection closed");
        return;
    }
    uint64_t now = now_ns();
    body_sink sink = options.is_loose ? keep_body : options.is_stream ? match_events : match_body;
    size_t used = message_feed(&c->reply, scratch, (size_t)size, sink, c);
    if (!c->has_head && c->reply.state != HEAD) {
        c->has_head = 1;
        observe(&first_byte, now - c->due_ns);
    }
    if (c->reply.state == BROKEN)
        give_up(c, FRAMING, "broken framing");
    else if (c->reply.state == DONE)
        finish(c, now, (size_t)size - used);
}

static void handle(struct connection *c, uint32_t events)
{
    if (events & EPOLLOUT && c->is_busy)
        send_request(c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_answer(c);
}

/* When the next request may start: now for a closed loop, on schedule when paced, never (UINT64_MAX) when all are out. */
static uint64_t next_start_ns(uint64_t start_ns, uint64_t now)
{
    if (options.requests && issued >= options.requests)
        return UINT64_MAX;
    if (options.rate > 0)
        return start_ns + (uint64_t)((double)issued * 1e9 / options.rate);
    if (now >= steady_to_ns)
        return UINT64_MAX;
    uint64_t ramp_ns = (uint64_t)(options.ramp * 1e9 * (double)issued / (double)options.connections);
    return issued < options.connections && start_ns + ramp_ns > now ? start_ns + ramp_ns : now;
}

static void count_unfinished(void)
{
    for (size_t i = 0; i < options.connections; i++)
        if (connections[i].is_busy)
            wrong(&connections[i], UNFINISHED, "no whole answer within %g s of the end", options.patience);
}

static int is_over(uint64_t next_ns)
{
    size_t reachable = idle_count + (size_t)(issued - finished);
    return !reachable || (next_ns == UINT64_MAX && issued == finished);
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    uint64_t start_ns = now_ns(), now = start_ns, next_ns;
    steady_from_ns = start_ns + (uint64_t)(options.ramp * 1e9);
    steady_to_ns = steady_from_ns + (uint64_t)(options.seconds * 1e9);
    uint64_t end_ns = steady_to_ns + (uint64_t)(options.patience * 1e9);
    for (;;) {
        while ((next_ns = next_start_ns(start_ns, now)) <= now && idle_count)
            begin(take_idle(), options.rate > 0 ? next_ns : now);
        if (is_over(next_ns))
            return;
        if (now > end_ns)
            break;
        int count = wait_events(poller, events, EVENTS, idle_count && next_ns < end_ns ? next_ns : end_ns + 1);
        for (int i = 0; i < count; i++)
            handle(events[i].data.ptr, events[i].events);
        now = now_ns();
    }
    count_unfinished();
}

static void read_body(void)
{
    FILE *file = fopen(options.body_file, "rb");
    if (!file)
        die(options.body_file);
    fseek(file, 0, SEEK_END);
    body_size = (size_t)ftell(file);
    rewind(file);
    body = malloc(body_size + 1);
    if (!body || fread(body, 1, body_size, file) != body_size)
        die(options.body_file);
    body[body_size] = 0;
    fclose(file);
    asks_for_usage = strstr(body, "\"include_usage\":true") || strstr(body, "\"include_usage\": true");
}

/* Every connection has its own copy of the request, rewritten in place: only the nonce changes. */
static void prepare(struct connection *c)
{
    char head[4096];
    int head_size = snprintf(head, sizeof head,
                             "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: %s\r\n%s"
                             "Accept: application/json\r\nContent-Type: application/json\r\n"
                             "User-Agent: OpenAI/Python 2.8.1\r\nContent-Length: %zu\r\n\r\n",
                             options.path, options.port, options.authorization, options.headers, body_size);
    const char *mark = memmem(body, body_size, NONCE_MARK NO_NONCE, NONCE_MARK_LEN + NONCE_DIGITS);
    request_size = (size_t)head_size + body_size;
    c->request = malloc(request_size);
    c->nonce = malloc(NONCE_DIGITS + 1);
    c->kept = options.is_loose ? malloc(KEPT_LIMIT) : NULL;
    if (!c->request || !c->nonce || (options.is_loose && !c->kept))
        die("malloc");
    memcpy(c->request, head, (size_t)head_size);
    memcpy(c->request + head_size, body, body_size);
    c->nonce[NONCE_DIGITS] = 0;
    nonce_offset = mark ? (size_t)head_size + (size_t)(mark - body) + NONCE_MARK_LEN : 0;
    c->expected_size = write_completion(c->expected, NO_NONCE);
    open_connection(c);
}

static void print_histogram(const char *name, const struct histogram *h)
{
    printf(", \"%s\": {\"count\": %llu, \"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, "
           "\"max\": %.1f}",
           name, (unsigned long long)h->total, h->total ? (double)h->sum_ns / (double)h->total / 1e3 : 0.0,
           quantile_us(h, 0.5), quantile_us(h, 0.9), quantile_us(h, 0.99), quantile_us(h, 0.999),
           (double)h->max_ns / 1e3);
}

static void print_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar(*text < ' ' || *text == 127 ? ' ' : *text);
    }
}

static void print_result(double seconds)
{
    uint64_t all = 0;
    printf("{\"requests\": %llu, \"finished\": %llu, \"seconds\": %.6f, \"requests_per_second\": %.1f",
           (unsigned long long)issued, (unsigned long long)finished, seconds, (double)finished / seconds);
    printf(", \"chunks\": %llu, \"chunks_per_second\": %.1f, \"reconnects\": %llu", (unsigned long long)chunks,
           options.is_stream ? (double)steady_chunks / options.seconds : 0.0, (unsigned long long)reconnects);
    printf(", \"first_nonce\": \"%016llx\"", (unsigned long long)first_nonce);
    print_histogram("latency_us", &latency);
    print_histogram("first_byte_us", &first_byte);
    print_histogram("chunk_delay_us", &delay);
    printf(", \"error_kinds\": {");
    for (int kind = 0; kind < ERROR_KINDS; kind++) {
        printf("%s\"%s\": %llu", kind ? ", " : "", error_names[kind], (unsigned long long)errors[kind]);
        all += errors[kind];
    }
    printf("}, \"errors\": %llu, \"first_error\": \"", (unsigned long long)all);
    print_text(first_error);
    printf("\"}\n");
}

static void add_header(const char *program, const char *header)
{
    size_t used = strlen(options.headers), room = sizeof options.headers - used;
    if ((size_t)snprintf(options.headers + used, room, "%s\r\n", header) >= room) {
        fprintf(stderr, "%s: too many headers\n", program);
        exit(2);
    }
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--stream")) {
            options.is_stream = 1;
            continue;
        }
        if (!strcmp(name, "--loose")) {
            options.is_loose = 1;
            continue;
        }
        const char *value = option_value(argc, argv, &i);
        if (!strcmp(name, "--port"))
            options.port = atoi(value);
        else if (!strcmp(name, "--path"))
            options.path = value;
        else if (!strcmp(name, "--authorization"))
            options.authorization = value;
        else if (!strcmp(name, "--body"))
            options.body_file = value;
        else if (!strcmp(name, "--connections"))
            options.connections = (size_t)atoi(value);
        else if (!strcmp(name, "--seconds"))
            options.seconds = atof(value);
        else if (!strcmp(name, "--requests"))
            options.requests = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--rate"))
            options.rate = atof(value);
        else if (!strcmp(name, "--patience"))
            options.patience = atof(value);
        else if (!strcmp(name, "--ramp"))
            options.ramp = atof(value);
        else if (!strcmp(name, "--header"))
            add_header(argv[0], value);
        else {
            fprintf(stderr, "%s: unknown option %s\n", argv[0], name);
            exit(2);
        }
    }
    if (!options.port || !options.body_file || !options.connections || options.seconds <= 0) {
        fprintf(stderr, "%s: --port, --body, --connections and --seconds are needed\n", argv[0]);
        exit(2);
    }
    /* A paced run is its schedule: every request that is due gets sent, however late. */
    if (options.rate > 0 && !options.requests)
        options.requests = (uint64_t)(options.rate * options.seconds);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    settle_process((unsigned)(options.ramp + options.seconds + options.patience) + 60);
    read_body();
    poller = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc(options.connections, sizeof *connections);
    idle = calloc(options.connections, sizeof *idle);
    if (!connections || !idle)
        die("calloc");
    first_nonce = next_nonce = now_ns();
    for (size_t i = 0; i < options.connections; i++)
        prepare(&connections[i]);
    uint64_t start_ns = now_ns();
    run();
    print_result((double)(now_ns() - start_ns) / 1e9);
}
