/* The clock, waiting and sockets, as both programs need them. */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Wait for events or until `wake_ns` (0: no limit). epoll_wait counts in milliseconds, which is far too coarse here. */
static inline int wait_events(int poller, struct epoll_event *events, int room, uint64_t wake_ns)
{
    if (!wake_ns)
        return epoll_wait(poller, events, room, -1);
    uint64_t now = now_ns();
    if (wake_ns > now) {
        struct pollfd waiting = {.fd = poller, .events = POLLIN};
        struct timespec left = {.tv_sec = (time_t)((wake_ns - now) / SECOND_NS),
                                .tv_nsec = (long)((wake_ns - now) % SECOND_NS)};
        if (ppoll(&waiting, 1, &left, NULL) <= 0)
            return 0;
    }
    return epoll_wait(poller, events, room, 0);
}

static inline void watch(int poller, int operation, int fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(poller, operation, fd, &event))
        die("epoll_ctl");
}

static inline struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline void send_at_once(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Exact timers, an end of its own, and no life after the process that started it. */
static inline void settle_process(unsigned max_seconds)
{
    prctl(PR_SET_TIMERSLACK, 1ul);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    alarm(max_seconds);
}

/* The text of an option that must have a value; leaves the index on the value. */
static inline const char *option_value(int argc, char **argv, int *index)
{
    if (*index + 1 >= argc) {
        fprintf(stderr, "%s: %s needs a value\n", argv[0], argv[*index]);
        exit(2);
    }
    return argv[++*index];
}

#endif
