/* The floor of a TCP ping-pong: blocking send and recv in a loop, and nothing else.
 *
 *   pingpong serve ADDRESS PORT                      answers one connection
 *   pingpong ask ADDRESS PORT BYTES SECONDS          prints {"p50_ns":..,"p99_ns":..,"count":..}
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BYTES_MAX = 1 << 20, SAMPLES_MAX = 8 << 20, WARM_UP_NS = 200000000 };

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* 0 when the other end has closed. */
static int receive(int fd, char *into, size_t bytes) {
  ssize_t n = recv(fd, into, bytes, MSG_WAITALL);
  if (n < 0) die("recv");
  return n == (ssize_t)bytes;
}

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  static char message[BYTES_MAX];
  int asks = argc == 6 && !strcmp(argv[1], "ask"), on = 1;
  if (!asks && !(argc == 4 && !strcmp(argv[1], "serve"))) {
    fprintf(stderr, "usage: pingpong serve ADDRESS PORT | ask ADDRESS PORT BYTES SECONDS\n");
    return 2;
  }
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
  if (inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) die("address");
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  if (!asks) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1)) die("listen");
    int client = accept(fd, NULL, NULL);
    if (client < 0) die("accept");
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    uint32_t bytes;
    if (!receive(client, (char *)&bytes, sizeof bytes) || bytes > BYTES_MAX) return 1;
    while (receive(client, message, bytes))
      if (send(client, message, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) return 0;
    return 0;
  }
  uint32_t bytes = (uint32_t)atoi(argv[4]);
  if (bytes < 1 || bytes > BYTES_MAX) die("BYTES");
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (send(fd, &bytes, sizeof bytes, 0) != sizeof bytes) die("send");
  uint64_t *took = malloc(SAMPLES_MAX * sizeof *took), count = 0;
  if (!took) die("malloc");
  memset(took, 0, SAMPLES_MAX * sizeof *took);
  uint64_t begin = now_ns() + WARM_UP_NS, end = begin + (uint64_t)(atof(argv[5]) * 1e9), asked = now_ns();
  while (asked < end && count < SAMPLES_MAX) {
    if (send(fd, message, bytes, 0) != (ssize_t)bytes) die("send");
    if (!receive(fd, message, bytes)) die("closed");
    uint64_t answered = now_ns();
    if (asked >= begin) took[count++] = answered - asked;
    asked = answered;
  }
  if (!count) return 1;
  qsort(took, count, sizeof *took, ascending);
  printf("{\"p50_ns\":%llu,\"p99_ns\":%llu,\"count\":%llu}\n", (unsigned long long)took[count / 2],
         (unsigned long long)took[count * 99 / 100], (unsigned long long)count);
  return 0;
}
