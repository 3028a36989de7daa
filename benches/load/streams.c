// Many TCP connections: short ones, and ones that wait.
//
//   serve PORT                       answers each byte with a byte, and closes when the other side does
//   connect HOST PORT SECONDS COUNT  COUNT connections at once, each followed by the next: a byte there, a byte back, reset; prints how many
//   hold HOST PORT COUNT             opens COUNT connections, a byte there and back on each; prints "held"; holds until SIGTERM
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) { perror(what); exit(1); }

static void reset_on_close(int descriptor) {
    struct linger linger = {1, 0};
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static struct sockaddr_in address(const char *host, const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, host, &to.sin_addr);
    return to;
}

static int dial(const char *host, const char *port) {
    struct sockaddr_in to = address(host, port);
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (descriptor < 0 || connect(descriptor, (void *)&to, sizeof to)) fail("connect");
    return descriptor;
}

static void exchange(int descriptor) {
    char byte = 'x';
    if (write(descriptor, &byte, 1) != 1 || read(descriptor, &byte, 1) != 1) fail("a byte there and back");
}

static void watch(int poll, int operation, int descriptor, int events) {
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    if (epoll_ctl(poll, operation, descriptor, &event)) fail("epoll_ctl");
}

static _Noreturn void serve(char **words) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(words[0]))};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) fail("listen");
    struct epoll_event events[EVENTS];
    watch(poll, EPOLL_CTL_ADD, listener, EPOLLIN);
    for (char room[4096];;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            int from = events[at].data.fd;
            if (from == listener) {
                for (int new; (new = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0;) watch(poll, EPOLL_CTL_ADD, new, EPOLLIN);
                continue;
            }
            ssize_t got = read(from, room, sizeof room);
            if (got <= 0 || write(from, room, got) != got) close(from);
        }
    }
}

// Says its byte as soon as it is connected.
static void begin(int poll, const struct sockaddr_in *to) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (descriptor < 0 || (connect(descriptor, (void *)to, sizeof *to) && errno != EINPROGRESS)) fail("connect");
    watch(poll, EPOLL_CTL_ADD, descriptor, EPOLLOUT);
}

static int connect_often(char **words) {
    struct sockaddr_in to = address(words[0], words[1]);
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(0);
    for (int at = atoi(words[3]); at > 0; at--) begin(poll, &to);
    long count = 0;
    for (double end = now() + atof(words[2]); now() < end;) {
        int ready = epoll_wait(poll, events, EVENTS, 1000);
        for (int at = 0; at < ready; at++) {
            int descriptor = events[at].data.fd;
            char byte = 'x';
            if (events[at].events & EPOLLOUT) {
                if (write(descriptor, &byte, 1) != 1) fail("a byte there");
                watch(poll, EPOLL_CTL_MOD, descriptor, EPOLLIN);
                continue;
            }
            if (read(descriptor, &byte, 1) != 1) fail("a byte back");
            reset_on_close(descriptor);
            close(descriptor);
            count++;
            begin(poll, &to);
        }
    }
    printf("%ld\n", count);
    return 0;
}

static _Noreturn void hold(char **words) {
    int count = atoi(words[2]);
    for (int at = 0; at < count; at++) {
        int descriptor = dial(words[0], words[1]);
        reset_on_close(descriptor);
        exchange(descriptor);
    }
    puts("held");
    fflush(stdout);
    for (;;) pause();
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "serve")) serve(words + 2);
    if (count == 6 && !strcmp(words[1], "connect")) return connect_often(words + 2);
    if (count == 5 && !strcmp(words[1], "hold")) hold(words + 2);
    fprintf(stderr, "see the head of the source\n");
    return 2;
}
