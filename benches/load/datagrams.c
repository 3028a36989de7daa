// Datagrams at a steady rate, and what became of them.
//
//   send HOST PORT SIZE RATE SECONDS FLOWS   prints how many were sent
//   sink PORT                                counts what arrives until SIGTERM, then prints it
//   echo PORT                                sends back what arrives, until SIGTERM
//   ping HOST PORT SIZE RATE SECONDS         prints sent, answered, and p50 and p99 of the round trip in us
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 2048, MAX_FLOWS = 256, MAX_TRIPS = 1 << 20 };
static volatile sig_atomic_t stopped;

static void stop(int number) { (void)number; stopped = 1; }

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int connected(const char *host, const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, host, &to.sin_addr);
    int descriptor = socket(AF_INET, SOCK_DGRAM, 0);
    int room = 8 << 20;
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (connect(descriptor, (void *)&to, sizeof to)) { perror("connect"); exit(1); }
    return descriptor;
}

static int bound(const char *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int descriptor = socket(AF_INET, SOCK_DGRAM, 0), room = 8 << 20;
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (bind(descriptor, (void *)&at, sizeof at)) { perror("bind"); exit(1); }
    struct timeval wait = {.tv_usec = 100000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, 0);
    return descriptor;
}

static int send_all(char **words) {
    int size = atoi(words[2]), flows = atoi(words[5]), sockets[MAX_FLOWS];
    double rate = atof(words[3]), length = atof(words[4]);
    if (flows > MAX_FLOWS) flows = MAX_FLOWS;
    for (int flow = 0; flow < flows; flow++) sockets[flow] = connected(words[0], words[1]);
    static char payload[65536];
    long sent = 0;
    for (double start = now(), passed; (passed = now() - start) < length; usleep(500))
        for (long due = passed * rate; sent < due; sent++) send(sockets[sent % flows], payload, size, 0);
    printf("%ld\n", sent);
    return 0;
}

static int sink(char **words) {
    static char rooms[BATCH][ROOM];
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    for (int at = 0; at < BATCH; at++) {
        parts[at] = (struct iovec){rooms[at], ROOM};
        messages[at].msg_hdr.msg_iov = &parts[at];
        messages[at].msg_hdr.msg_iovlen = 1;
    }
    int descriptor = bound(words[0]);
    long count = 0;
    while (!stopped) {
        int got = recvmmsg(descriptor, messages, BATCH, MSG_WAITFORONE, 0);
        if (got > 0) count += got;
    }
    printf("%ld\n", count);
    return 0;
}

static int echo(char **words) {
    int descriptor = bound(words[0]);
    static char payload[65536];
    while (!stopped) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(descriptor, payload, sizeof payload, 0, (void *)&from, &length);
        if (got >= 0) sendto(descriptor, payload, got, 0, (void *)&from, length);
    }
    return 0;
}

static int by_size(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

// Open loop: the next one leaves when it is due, whether the last one is back or not.
static int ping(char **words) {
    int size = atoi(words[2]), descriptor = connected(words[0], words[1]);
    double rate = atof(words[3]), length = atof(words[4]), gap = 1 / rate;
    static double trips[MAX_TRIPS];
    static char payload[65536];
    long sent = 0, back = 0;
    if (size < (int)sizeof(double)) size = sizeof(double);
    for (double start = now(), time; (time = now()) < start + length + 0.5;) {
        if (time < start + length && time >= start + sent * gap) {
            memcpy(payload, &time, sizeof time);
            send(descriptor, payload, size, 0);
            sent++;
        }
        struct pollfd wait = {descriptor, POLLIN, 0};
        double left = start + sent * gap - now();
        if (left > 0) ppoll(&wait, 1, &(struct timespec){.tv_nsec = left * 1e9}, 0);
        while (back < MAX_TRIPS && recv(descriptor, payload, sizeof payload, MSG_DONTWAIT) > 0) {
            memcpy(&left, payload, sizeof left);
            trips[back++] = now() - left;
        }
    }
    qsort(trips, back, sizeof *trips, by_size);
    printf("%ld %ld %.1f %.1f\n", sent, back, back ? trips[back / 2] * 1e6 : 0, back ? trips[back * 99 / 100] * 1e6 : 0);
    return 0;
}

int main(int count, char **words) {
    if (count == 8 && !strcmp(words[1], "send")) return send_all(words + 2);
    if (count == 3 && !strcmp(words[1], "sink")) return sink(words + 2);
    if (count == 3 && !strcmp(words[1], "echo")) return echo(words + 2);
    if (count == 7 && !strcmp(words[1], "ping")) return ping(words + 2);
    fprintf(stderr, "see the head of the source\n");
    return 2;
}
