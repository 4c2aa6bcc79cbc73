/* One HTTP/1.1 message, read from pieces of any size.
 *
 * Shared by the load generator and the mock upstream. It does no I/O: bytes are pushed in, body bytes come out through
 * a callback, and the number of bytes used is returned, so what follows a message (pipelining) stays with the caller.
 * Only a length or chunked framing is understood: a keep-alive message without either has no body, which is right for
 * a request and is reported as BROKEN for a response.
 */
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_LIMIT 16384
#define LINE_LIMIT 256

enum message_state { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, DONE, BROKEN };

struct message {
    enum message_state state;
    int is_response;
    uint64_t remaining; /* bytes left of the body, or of the current chunk */
    size_t head_len;
    size_t line_len;
    char head[HEAD_LIMIT];
    char line[LINE_LIMIT];
};

typedef void (*body_sink)(void *owner, const char *data, size_t size);

static inline void message_reset(struct message *m, int is_response)
{
    m->state = HEAD;
    m->is_response = is_response;
    m->remaining = 0;
    m->head_len = 0;
    m->line_len = 0;
}

/* The value of a header, or NULL. `*size` excludes the line end. */
static inline const char *message_header(const struct message *m, const char *name, size_t *size)
{
    size_t name_len = strlen(name);
    const char *end = m->head + m->head_len;
    const char *line = memchr(m->head, '\n', m->head_len);
    while (line && ++line < end) {
        const char *stop = memchr(line, '\r', (size_t)(end - line));
        if (!stop)
            return NULL;
        if ((size_t)(stop - line) > name_len && line[name_len] == ':' && !strncasecmp(line, name, name_len)) {
            const char *value = line + name_len + 1;
            while (value < stop && *value == ' ')
                value++;
            *size = (size_t)(stop - value);
            return value;
        }
        line = memchr(stop, '\n', (size_t)(end - stop));
    }
    return NULL;
}

static inline int message_header_is(const struct message *m, const char *name, const char *wanted)
{
    size_t size;
    const char *value = message_header(m, name, &size);
    return value && size == strlen(wanted) && !strncasecmp(value, wanted, size);
}

static inline int message_status(const struct message *m)
{
    return m->head_len > 12 && !memcmp(m->head, "HTTP/1.", 7) ? atoi(m->head + 9) : 0;
}

static inline enum message_state state_after_head(struct message *m)
{
    size_t size;
    const char *length = message_header(m, "content-length", &size);
    if (message_header_is(m, "transfer-encoding", "chunked"))
        return CHUNK_SIZE;
    if (!length)
        return m->is_response ? BROKEN : DONE;
    m->remaining = strtoull(length, NULL, 10);
    return m->remaining ? LENGTH : DONE;
}

static inline size_t feed_head(struct message *m, const char *data, size_t size)
{
    size_t before = m->head_len;
    size_t room = HEAD_LIMIT - before;
    size_t taken = size < room ? size : room;
    size_t from = before < 3 ? 0 : before - 3;
    memcpy(m->head + before, data, taken);
    char *end = memmem(m->head + from, before + taken - from, "\r\n\r\n", 4);
    if (!end) {
        m->head_len = before + taken;
        if (m->head_len == HEAD_LIMIT)
            m->state = BROKEN;
        return taken;
    }
    m->head_len = (size_t)(end - m->head) + 4;
    m->state = state_after_head(m);
    return m->head_len - before;
}

static inline size_t feed_body(struct message *m, const char *data, size_t size, body_sink sink, void *owner)
{
    size_t taken = m->remaining < size ? (size_t)m->remaining : size;
    sink(owner, data, taken);
    m->remaining -= taken;
    if (!m->remaining)
        m->state = m->state == LENGTH ? DONE : CHUNK_END;
    return taken;
}

static inline void end_line(struct message *m)
{
    char *stop = m->line;
    m->line[m->line_len] = 0;
    if (m->state == CHUNK_END) {
        m->state = m->line_len == 1 ? CHUNK_SIZE : BROKEN;
    } else if (m->state == TRAILER) {
        m->state = m->line_len == 1 ? DONE : TRAILER;
    } else {
        m->remaining = strtoull(m->line, &stop, 16);
        m->state = stop == m->line ? BROKEN : m->remaining ? CHUNK_DATA : TRAILER;
    }
    m->line_len = 0;
}

/* The lines between the data of a chunked body; `line` keeps the CR, so an empty line has length 1. */
static inline size_t feed_line(struct message *m, const char *data, size_t size)
{
    const char *end = memchr(data, '\n', size);
    size_t taken = end ? (size_t)(end - data) : size;
    if (m->line_len + taken >= LINE_LIMIT) {
        m->state = BROKEN;
        return taken;
    }
    memcpy(m->line + m->line_len, data, taken);
    m->line_len += taken;
    if (!end)
        return taken;
    end_line(m);
    return taken + 1;
}

/* Push bytes; returns how many belong to this message. Stops at DONE or BROKEN. */
static inline size_t message_feed(struct message *m, const char *data, size_t size, body_sink sink, void *owner)
{
    size_t used = 0;
    while (used < size && m->state < DONE) {
        if (m->state == HEAD)
            used += feed_head(m, data + used, size - used);
        else if (m->state == LENGTH || m->state == CHUNK_DATA)
            used += feed_body(m, data + used, size - used, sink, owner);
        else
            used += feed_line(m, data + used, size - used);
    }
    return used;
}

#endif
