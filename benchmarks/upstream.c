/* A mock OpenAI provider that is much faster than any proxy in front of it.
 *
 * It answers every request that has a body with `"stream": true` in it as a paced SSE stream (one send per event, the
 * send time inside), every other request with a chat completion of about 1 KB. Requests are drained to their last
 * byte, whatever their framing, and answered in order when pipelined. The first event of each stream is due at an
 * evenly spread phase, so that many streams make a smooth flow and not a burst per interval.
 *
 * A body that says `pace-100-50` has its stream made of 100 chunks, 50 per second; others take --chunks and --rate.
 *
 * With --corrupt-every N every Nth answer of a thread has one changed byte: the load generator must notice.
 */
#define _GNU_SOURCE
#include "completion.h"
#include "http.h"
#include "loop.h"

#include <pthread.h>

#define EVENTS 256
#define READ_SIZE 65536
#define HELD_LIMIT (1 << 20)    /* pipelined bytes kept while a stream runs */
#define UNSENT_LIMIT (8 << 20)  /* a reader this far behind is dropped */
#define BODY_KEPT (1 << 20)     /* request bytes kept to look for the nonce and the stream flag */

struct options {
    int port;
    int threads;
    unsigned chunks;
    double rate;
    unsigned corrupt_every;
    unsigned max_seconds;
};

static struct options options = {.threads = 1, .chunks = 100, .rate = 50, .max_seconds = 900};

struct buffer {
    char *data;
    size_t size, room;
};

struct connection {
    int fd;
    int is_dead; /* closed, but still in the heap of due streams */
    int is_streaming;
    int wants_usage;
    int is_corrupt;
    unsigned sent_chunks, chunks;
    double rate;
    uint64_t due_ns;
    char nonce[NONCE_DIGITS];
    struct message request;
    struct buffer body, held, unsent;
};

struct worker {
    int poller;
    int listener;
    uint64_t answers;
    uint64_t streams;
    struct connection **heap; /* streams by due time */
    size_t heap_size, heap_room;
    char scratch[READ_SIZE];
};

static void buffer_add(struct buffer *b, const char *data, size_t size)
{
    if (b->size + size > b->room) {
        b->room = (b->size + size) * 2;
        b->data = realloc(b->data, b->room);
        if (!b->data)
            die("realloc");
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void buffer_drop(struct buffer *b, size_t size)
{
    b->size -= size;
    memmove(b->data, b->data + size, b->size);
}

static void heap_swap(struct worker *w, size_t a, size_t b)
{
    struct connection *kept = w->heap[a];
    w->heap[a] = w->heap[b];
    w->heap[b] = kept;
}

static void heap_push(struct worker *w, struct connection *c)
{
    if (w->heap_size == w->heap_room) {
        w->heap_room = w->heap_room ? w->heap_room * 2 : 256;
        w->heap = realloc(w->heap, w->heap_room * sizeof *w->heap);
        if (!w->heap)
            die("realloc");
    }
    size_t at = w->heap_size++;
    w->heap[at] = c;
    while (at && w->heap[(at - 1) / 2]->due_ns > w->heap[at]->due_ns) {
        heap_swap(w, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static struct connection *heap_pop(struct worker *w)
{
    struct connection *first = w->heap[0];
    w->heap[0] = w->heap[--w->heap_size];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < w->heap_size; child++)
            if (w->heap[child]->due_ns < w->heap[least]->due_ns)
                least = child;
        if (least == at)
            return first;
        heap_swap(w, at, least);
        at = least;
    }
}

static void free_connection(struct connection *c)
{
    free(c->body.data);
    free(c->held.data);
    free(c->unsent.data);
    free(c);
}

/* Close now; the memory of a streaming connection is freed when the heap lets go of it. */
static void close_connection(struct connection *c)
{
    close(c->fd);
    c->is_dead = 1;
}

static int send_bytes(struct worker *w, struct connection *c, const char *data, size_t size)
{
    ssize_t sent = c->unsent.size ? 0 : send(c->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return -1;
    if (sent < 0)
        sent = 0;
    if ((size_t)sent == size)
        return 0;
    if (!c->unsent.size)
        watch(w->poller, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
    buffer_add(&c->unsent, data + sent, size - (size_t)sent);
    return c->unsent.size > UNSENT_LIMIT ? -1 : 0;
}

static int send_unsent(struct worker *w, struct connection *c)
{
    ssize_t sent = send(c->fd, c->unsent.data, c->unsent.size, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN ? 0 : -1;
    buffer_drop(&c->unsent, (size_t)sent);
    if (!c->unsent.size)
        watch(w->poller, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    return 0;
}

static int is_nth(uint64_t count)
{
    return options.corrupt_every && count % options.corrupt_every == 0;
}

static int send_completion(struct worker *w, struct connection *c)
{
    char body[BODY_LIMIT], answer[BODY_LIMIT + 512];
    size_t size = write_completion(body, c->nonce);
    if (is_nth(++w->answers))
        body[size / 2] ^= 1;
    int head = snprintf(answer, sizeof answer,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                        "x-request-id: req_" NONCE_MARK "%.16s\r\nopenai-processing-ms: 1\r\n\r\n",
                        size, c->nonce);
    memcpy(answer + head, body, size);
    return send_bytes(w, c, answer, (size_t)head + size);
}

/* Golden-ratio phases: any number of streams is spread evenly over the interval. */
static uint64_t phase_ns(uint64_t stream, double rate)
{
    double turns = (double)stream * 0.6180339887498949;
    return (uint64_t)((turns - (double)(uint64_t)turns) * 1e9 / rate);
}

static int start_stream(struct worker *w, struct connection *c)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                               "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    c->is_streaming = 1;
    c->sent_chunks = 0;
    c->is_corrupt = is_nth(++w->streams);
    c->due_ns = now_ns() + phase_ns(w->streams, c->rate);
    heap_push(w, c);
    return send_bytes(w, c, head, sizeof head - 1);
}

/* An event as one chunk of the body; returns its size on the wire. */
static size_t frame(char *out, const char *event, size_t size)
{
    size_t head = (size_t)sprintf(out, "%zx\r\n", size);
    memcpy(out + head, event, size);
    memcpy(out + head + size, "\r\n", 2);
    return head + size + 2;
}

static int send_delta(struct worker *w, struct connection *c)
{
    char event[EVENT_LIMIT], wire[EVENT_LIMIT + 16];
    size_t size = write_delta(event, c->nonce, c->sent_chunks, now_ns());
    if (c->is_corrupt && c->sent_chunks == c->chunks / 2)
        event[size / 3] ^= 1;
    c->sent_chunks++;
    return send_bytes(w, c, wire, frame(wire, event, size));
}

static int send_stream_end(struct worker *w, struct connection *c)
{
    char event[EVENT_LIMIT], wire[4 * EVENT_LIMIT];
    size_t size = frame(wire, event, write_finish(event, c->nonce));
    if (c->wants_usage)
        size += frame(wire + size, event, write_usage(event, c->nonce, c->chunks));
    size += frame(wire + size, LAST_EVENT "\n\n", sizeof LAST_EVENT + 1);
    memcpy(wire + size, "0\r\n\r\n", 5);
    return send_bytes(w, c, wire, size + 5);
}

/* A JSON member with the value true, with or without a space. A text search is enough for bodies that we wrote. */
static int has_true(const struct buffer *body, const char *member)
{
    const char *end = body->data + body->size;
    const char *at = body->size ? memmem(body->data, body->size, member, strlen(member)) : NULL;
    if (!at)
        return 0;
    at += strlen(member);
    while (at < end && (*at == ' ' || *at == ':'))
        at++;
    return end - at >= 4 && !memcmp(at, "true", 4);
}

static void keep_body(void *owner, const char *data, size_t size)
{
    struct connection *c = owner;
    if (c->body.size + size <= BODY_KEPT)
        buffer_add(&c->body, data, size);
}

static int answer(struct worker *w, struct connection *c)
{
    memcpy(c->nonce, find_nonce(c->body.data ? c->body.data : "", c->body.size), NONCE_DIGITS);
    int is_stream = has_true(&c->body, "\"stream\"");
    c->chunks = options.chunks;
    c->rate = options.rate;
    find_pace(c->body.data ? c->body.data : "", c->body.size, &c->chunks, &c->rate);
    c->wants_usage = has_true(&c->body, "\"include_usage\"");
    c->body.size = 0;
    message_reset(&c->request, 0);
    return is_stream ? start_stream(w, c) : send_completion(w, c);
}

/* Answer every whole request in `data`; what arrives behind a running stream is held back. */
static int take_bytes(struct worker *w, struct connection *c, const char *data, size_t size)
{
    while (size && !c->is_streaming) {
        size_t used = message_feed(&c->request, data, size, keep_body, c);
        data += used;
        size -= used;
        if (c->request.state == BROKEN)
            return -1;
        if (c->request.state == DONE && answer(w, c))
            return -1;
    }
    if (size)
        buffer_add(&c->held, data, size);
    return c->held.size > HELD_LIMIT ? -1 : 0;
}

static int resume(struct worker *w, struct connection *c)
{
    struct buffer held = c->held;
    c->held = (struct buffer){0};
    int result = take_bytes(w, c, held.data, held.size);
    free(held.data);
    return result;
}

static int read_connection(struct worker *w, struct connection *c)
{
    ssize_t size = recv(c->fd, w->scratch, sizeof w->scratch, 0);
    if (size < 0)
        return errno == EAGAIN ? 0 : -1;
    return size ? take_bytes(w, c, w->scratch, (size_t)size) : -1;
}

static void serve(struct worker *w, struct connection *c, uint32_t events)
{
    int result = 0;
    if (events & EPOLLOUT)
        result = send_unsent(w, c);
    if (!result && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        result = read_connection(w, c);
    if (!result)
        return;
    close_connection(c);
    if (!c->is_streaming)
        free_connection(c);
}

static void accept_all(struct worker *w)
{
    int fd;
    while ((fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c)
            die("calloc");
        c->fd = fd;
        message_reset(&c->request, 0);
        send_at_once(fd);
        watch(w->poller, EPOLL_CTL_ADD, fd, EPOLLIN, c);
    }
}

/* One step of the stream that is due first: a delta, or its end. */
static void step_stream(struct worker *w)
{
    struct connection *c = heap_pop(w);
    if (c->is_dead) {
        free_connection(c);
        return;
    }
    int is_last = c->sent_chunks == c->chunks;
    int result = is_last ? send_stream_end(w, c) : send_delta(w, c);
    c->due_ns += (uint64_t)(1e9 / c->rate);
    if (!result && !is_last) {
        heap_push(w, c);
        return;
    }
    c->is_streaming = 0;
    if (result || resume(w, c)) {
        int is_in_heap = c->is_streaming;
        close_connection(c);
        if (!is_in_heap)
            free_connection(c);
    }
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = wait_events(w->poller, events, EVENTS, w->heap_size ? w->heap[0]->due_ns : 0);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                serve(w, events[i].data.ptr, events[i].events);
            else
                accept_all(w);
        }
        while (w->heap_size && w->heap[0]->due_ns <= now_ns())
            step_stream(w);
    }
    return NULL;
}

/* Each of several threads listens for itself (SO_REUSEPORT); port 0 is settled by the first. */
static struct worker *new_worker(void)
{
    struct worker *w = calloc(1, sizeof *w);
    int on = 1;
    struct sockaddr_in address = loopback(options.port);
    socklen_t size = sizeof address;
    if (!w)
        die("calloc");
    w->poller = epoll_create1(EPOLL_CLOEXEC);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(w->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (options.threads > 1)
        setsockopt(w->listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(w->listener, (struct sockaddr *)&address, size) || listen(w->listener, 4096))
        die("listen");
    getsockname(w->listener, (struct sockaddr *)&address, &size);
    options.port = ntohs(address.sin_port);
    watch(w->poller, EPOLL_CTL_ADD, w->listener, EPOLLIN, NULL);
    return w;
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        const char *value = option_value(argc, argv, &i);
        if (!strcmp(name, "--port"))
            options.port = atoi(value);
        else if (!strcmp(name, "--threads"))
            options.threads = atoi(value);
        else if (!strcmp(name, "--chunks"))
            options.chunks = (unsigned)atoi(value);
        else if (!strcmp(name, "--rate"))
            options.rate = atof(value);
        else if (!strcmp(name, "--corrupt-every"))
            options.corrupt_every = (unsigned)atoi(value);
        else if (!strcmp(name, "--max-seconds"))
            options.max_seconds = (unsigned)atoi(value);
        else {
            fprintf(stderr, "%s: unknown option %s\n", argv[0], name);
            exit(2);
        }
    }
    if (options.rate <= 0 || options.threads < 1) {
        fprintf(stderr, "%s: --rate and --threads must be positive\n", argv[0]);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    settle_process(options.max_seconds);
    struct worker *first = new_worker();
    for (int i = 1; i < options.threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, new_worker()))
            die("pthread_create");
    }
    printf("listening %d\n", options.port);
    fflush(stdout);
    work(first);
}
