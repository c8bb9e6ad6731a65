/* The guest's only program in scripts/bench/migrate-vs-qemu: fills memory with bytes that compress badly, says
 * READY, then writes one word in each of RATE pages per second, chosen at random, for ever. Refuses nothing; it is
 * process 1's child and has nobody to complain to. usage: dirtier MEBIBYTES PAGES_PER_SECOND */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t state = 88172645463325252ULL;
static uint64_t next(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  uint64_t pages = (uint64_t)atoi(argv[1]) * 256;
  double rate = atof(argv[2]), start, told;
  uint64_t done = 0;
  (void)argc;
  uint64_t *memory = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  for (uint64_t i = 0; i < pages * 512; i++) memory[i] = next() | 1;
  printf("READY\n");
  start = told = now();
  for (;;) {
    double t = now();
    uint64_t due = (uint64_t)((t - start) * rate);
    for (; done < due; done++) {
      uint64_t r = next();
      memory[(r >> 20) % pages * 512 + (r & 511)] = r;
    }
    if (t - told >= 1) {
      printf("ALIVE %llu\n", (unsigned long long)done);
      told = t;
    }
    struct timespec nap = {0, 500000};
    nanosleep(&nap, 0);
  }
}
