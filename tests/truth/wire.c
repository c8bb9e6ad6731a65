/* A wire between two interfaces, with faults of its own: for kernels without netem, and for what netem cannot do.
 *
 *   cc -O2 -o wire wire.c
 *   wire END END [WHAT.KEY=VALUE ...]
 *     END   packet:NAMESPACE:INTERFACE   takes whatever comes in at an interface that exists (offloads of its peer off)
 *           tap:NAMESPACE:INTERFACE      makes that interface: a NIC of its host
 *     WHAT  out (first end to second), in (second to first), both
 *     KEY   as in KEYS below, each with what it does
 *
 * Prints "wire: up" when it carries. SIGTERM ends it; it then prints what it did, as one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEYS \
  KEY(delay_ms, "every frame is this late") \
  KEY(jitter_ms, "and up to so much later, order kept") \
  KEY(spike_share, "share of frames that hold everything behind them up ...") \
  KEY(spike_ms, "... for so long") \
  KEY(stall_ms, "carries nothing for so long, then all of it ...") \
  KEY(stall_every_ms, "... once in such a time") \
  KEY(gap_ms, "loses everything for so long ...") \
  KEY(gap_every_ms, "... once in such a time") \
  KEY(sleeps_ms, "what comes first after so long a silence is lost ...") \
  KEY(wakes_ms, "... or, with this, it and what follows wait for so long") \
  KEY(rate_mbit, "carries no more than this") \
  KEY(queue_ms, "frames that would wait longer are lost (default 50)") \
  KEY(collide, "share of frames that are lost, with the next one of the other way, because that way carries something just then (needs its rate)") \
  KEY(shared, "1: one rate for both directions together") \
  KEY(police_mbit, "frames above this rate are lost at once") \
  KEY(flow_police_mbit, "the same for each connection by itself") \
  KEY(burst_kb, "what a policer lets through at once (default 64)") \
  KEY(members, "a bundle of so many links: a flow is on one of them ...") \
  KEY(bad_members, "... and the faults below hit only the flows of so many") \
  KEY(only_proto, "the faults below hit only this IP protocol") \
  KEY(only_tos, "... only packets with this DSCP") \
  KEY(above_bytes, "... only IP packets longer than this") \
  KEY(below_bytes, "... only IP packets shorter than this") \
  KEY(only_openings, "1: ... only TCP packets with SYN") \
  KEY(first_lost, "1: of every flow of TCP and UDP the first packet is lost, whichever way it goes") \
  KEY(late_ms, "these are so much later than others") \
  KEY(slow_mbit, "these share a rate of their own ...") \
  KEY(slow_after_kb, "... once so much of them has gone by") \
  KEY(dead, "1: nothing passes") \
  KEY(from_s, "... from this second on; the loss, and what is late, too") \
  KEY(loss, "share of IP packets that vanish") \
  KEY(reorder, "share that is overtaken ...") \
  KEY(reorder_ms, "... by what comes within this time") \
  KEY(duplicate, "share that arrives twice") \
  KEY(corrupt, "share with a bit turned, checksum as it was") \
  KEY(falsify, "share with a bit turned, checksum made to fit") \
  KEY(set_dscp, "every DSCP becomes this one (-1: as it is)") \
  KEY(clear_ecn, "1: ECN marks are wiped") \
  KEY(set_ce, "1: whoever can hear of congestion hears of it, always") \
  KEY(clamp_mss, "MSS of SYNs is at most this") \
  KEY(strip_scaling, "1: SYNs lose window scaling") \
  KEY(strip_sack, "1: ... and SACK") \
  KEY(strip_timestamps, "1: ... and timestamps") \
  KEY(renumber, "TCP's numbers are larger by this beyond the wire; the other way takes it off again, but for what SACK says") \
  KEY(idle_s, "connections silent for so long are forgotten: nothing of them passes any more") \
  KEY(reset_after_kb, "connections are reset after so much payload")

typedef struct {
#define KEY(name, help) double name;
  KEYS
#undef KEY
} faults;

typedef struct {
  faults f;
  int in, out, collided;
  uint64_t free_at, last_leaves, last_came, slow_free_at, late_leaves, police_at, slow_bytes;
  double police_bytes;
  uint64_t frames, lost, queue_lost, policed, duplicated, reordered, corrupted, rewritten, forgotten, resets;
} direction;

typedef struct {
  uint64_t key, seen_at, police_at, payload;
  double police_bytes;
  int dead, met;
} flow;

typedef struct {
  uint64_t at, order;
  int out, bytes;
  uint8_t data[];
} frame;

/* What of a frame is known: offsets into it, 0 where there is none. */
typedef struct {
  int version, ip, ip_bytes, l4, l4_bytes, protocol, tos, first_fragment;
} view;

#define FLOWS 8192
#define FRAME_MAX 66000
static direction way[2];
static flow flows[FLOWS];
static uint64_t started, orders, shared_free_at;
static frame **heap;
static size_t heap_used, heap_room;
static volatile sig_atomic_t ended;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift*: the same faults at every run. */
static double chance(void) {
  static uint64_t state = 0x2545F4914F6CDD1Du;
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return (double)((state * 0x2545F4914F6CDD1Du) >> 11) / 9007199254740992.0;
}

static int earlier(const frame *a, const frame *b) { return a->at != b->at ? a->at < b->at : a->order < b->order; }

static void push(frame *f) {
  if (heap_used == heap_room) {
    heap_room = heap_room ? heap_room * 2 : 4096;
    heap = realloc(heap, heap_room * sizeof *heap);
    if (!heap) exit(1);
  }
  size_t i = heap_used++;
  for (; i && earlier(f, heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
  heap[i] = f;
}

static frame *pop(void) {
  frame *first = heap[0], *last = heap[--heap_used];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < heap_used; i = child) {
    if (child + 1 < heap_used && earlier(heap[child + 1], heap[child])) child++;
    if (!earlier(heap[child], last)) break;
    heap[i] = heap[child];
  }
  heap[i] = last;
  return first;
}

static int word(const uint8_t *p) { return p[0] << 8 | p[1]; }
static void set_word(uint8_t *p, int value) { p[0] = (uint8_t)(value >> 8), p[1] = (uint8_t)value; }
static void add_long(uint8_t *p, uint32_t more) {
  uint32_t sum = ((uint32_t)word(p) << 16 | (uint32_t)word(p + 2)) + more;
  set_word(p, (int)(sum >> 16)), set_word(p + 2, (int)(sum & 0xffff));
}

static uint32_t add(const uint8_t *p, int bytes, uint32_t sum) {
  for (; bytes > 1; p += 2, bytes -= 2) sum += (uint32_t)word(p);
  return bytes ? sum + ((uint32_t)p[0] << 8) : sum;
}

static int fold(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (int)(~sum & 0xffff);
}

static view look(const uint8_t *f, int bytes) {
  view v = {0};
  int type = bytes > 34 ? word(f + 12) : 0;
  v.ip = 14;
  const uint8_t *ip = f + v.ip;
  if (type == 0x0800) {
    v.version = 4, v.ip_bytes = word(ip + 2), v.protocol = ip[9], v.tos = ip[1];
    v.l4 = v.ip + (ip[0] & 15) * 4;
    v.first_fragment = (word(ip + 6) & 0x1fff) == 0;
  } else if (type == 0x86dd && bytes > 54) {
    v.version = 6, v.ip_bytes = 40 + word(ip + 4), v.protocol = ip[6], v.tos = (ip[0] & 15) << 4 | ip[1] >> 4;
    v.l4 = v.ip + 40, v.first_fragment = 1;
  }
  v.l4_bytes = v.ip + v.ip_bytes - v.l4;
  if (v.ip + v.ip_bytes > bytes || v.l4_bytes < (v.protocol == 6 ? 20 : 8)) v.l4 = 0;
  return v;
}

static void checksum_ip(uint8_t *f, const view *v) {
  if (v->version != 4) return;
  set_word(f + v->ip + 10, 0);
  set_word(f + v->ip + 10, fold(add(f + v->ip, v->l4 - v->ip, 0)));
}

static void checksum_tcp(uint8_t *f, const view *v) {
  set_word(f + v->l4 + 16, 0);
  uint32_t sum = v->version == 4 ? add(f + v->ip + 12, 8, 0) : add(f + v->ip + 8, 32, 0);
  set_word(f + v->l4 + 16, fold(add(f + v->l4, v->l4_bytes, sum + 6u + (uint32_t)v->l4_bytes)));
}

/* `both_ways`: one number for a connection's two directions; otherwise each has its own, as in a bundle. */
static uint64_t flow_key(const uint8_t *f, const view *v, int both_ways) {
  int bytes = v->version == 4 ? 4 : 16;
  const uint8_t *from = f + v->ip + (v->version == 4 ? 12 : 8), *to = from + bytes;
  uint64_t a = 14695981039346656037u, b = a;
  for (int i = 0; i < bytes; i++) a = (a ^ from[i]) * 1099511628211u, b = (b ^ to[i]) * 1099511628211u;
  int ports = v->l4 && (v->protocol == 6 || v->protocol == 17) && v->first_fragment;
  for (int i = 0; i < 2 && ports; i++)
    a = (a ^ f[v->l4 + i]) * 1099511628211u, b = (b ^ f[v->l4 + 2 + i]) * 1099511628211u;
  uint64_t key = (both_ways ? a + b : a * 31 + b) ^ (uint64_t)v->protocol << 56;
  key = (key ^ key >> 29) * 0xBF58476D1CE4E5B9u;
  return (key ^ key >> 32) | 1;
}

static flow *find_flow(uint64_t key, uint64_t now) {
  for (uint64_t i = 0; i < FLOWS; i++) {
    flow *w = &flows[(key + i) % FLOWS];
    if (w->key == key) return w;
    if (!w->key) {
      *w = (flow){.key = key, .seen_at = now, .police_at = now, .police_bytes = 1e9};
      return w;
    }
  }
  return &flows[key % FLOWS];
}

/* A token bucket: whether a frame of so many bytes passes. */
static int admits(double *held, uint64_t *at, double mbit, double burst_bytes, uint64_t now, int bytes) {
  *held += (double)(now - *at) * mbit / 8e3;
  *at = now;
  if (*held > burst_bytes) *held = burst_bytes;
  if (*held < bytes) return 0;
  *held -= bytes;
  return 1;
}

static int strip_options(const faults *k, uint8_t *f, const view *v) {
  uint8_t *tcp = f + v->l4;
  int end = (tcp[12] >> 4) * 4, changed = 0;
  if (end > v->l4_bytes) return 0;
  for (int i = 20; i < end && tcp[i];) {
    if (tcp[i] == 1) { i++; continue; }
    int bytes = i + 1 < end ? tcp[i + 1] : 0;
    if (bytes < 2 || i + bytes > end) break;
    if ((tcp[i] == 3 && k->strip_scaling) || (tcp[i] == 4 && k->strip_sack) || (tcp[i] == 8 && k->strip_timestamps))
      memset(tcp + i, 1, (size_t)bytes), changed = 1;
    else if (tcp[i] == 2 && k->clamp_mss && word(tcp + i + 2) > (int)k->clamp_mss)
      set_word(tcp + i + 2, (int)k->clamp_mss), changed = 1;
    i += bytes;
  }
  return changed;
}

/* As a firewall does that gives connections sequence numbers of its own, and forgets those inside an option. */
static void renumber(uint8_t *tcp, uint32_t own, uint32_t others) {
  add_long(tcp + 4, own);
  if (tcp[13] & 16) add_long(tcp + 8, 0u - others);
}

/* Turns a segment into a reset of its connection, towards where it was going. */
static int make_reset(uint8_t *f, view *v) {
  uint8_t *tcp = f + v->l4;
  tcp[12] = 0x50, tcp[13] = 0x14;
  v->l4_bytes = 20, v->ip_bytes = v->l4 - v->ip + 20;
  if (v->version == 4) set_word(f + v->ip + 2, v->ip_bytes); else set_word(f + v->ip + 4, 20);
  checksum_ip(f, v);
  checksum_tcp(f, v);
  return v->ip + v->ip_bytes;
}

static int within(uint64_t now, double part_ms, double every_ms) {
  return part_ms > 0 && every_ms > 0 && (now - started) / 1000000 % (uint64_t)every_ms < (uint64_t)part_ms;
}

/* The end of the stall in which `at` is, or `at`. */
static uint64_t past_stall(const faults *k, uint64_t at) {
  if (!within(at, k->stall_ms, k->stall_every_ms)) return at;
  return at + (uint64_t)(k->stall_ms * 1e6) - (at - started) % (uint64_t)(k->stall_every_ms * 1e6);
}

static void enqueue(const uint8_t *data, int bytes, int out, uint64_t at) {
  frame *f = malloc(sizeof *f + (size_t)bytes);
  if (!f) exit(1);
  f->at = at, f->order = orders++, f->out = out, f->bytes = bytes;
  memcpy(f->data, data, (size_t)bytes);
  push(f);
}

static void carry(direction *d, uint8_t *f, int bytes, uint64_t now) {
  const faults *k = &d->f;
  direction *other = &way[d == &way[0]];
  view v = look(f, bytes);
  d->frames++;
  int tcp = v.l4 && v.protocol == 6 && v.first_fragment;
  int syn = tcp && (f[v.l4 + 13] & 2);

  if (within(now, k->gap_ms, k->gap_every_ms)) { d->lost++; return; }
  uint64_t silent = now - d->last_came;
  d->last_came = now;
  int sleeps = k->sleeps_ms && v.version && (double)silent > k->sleeps_ms * 1e6;
  if (sleeps && !k->wakes_ms) { d->lost++; return; }
  if (k->collide && other->free_at > now && chance() < k->collide) { d->lost++, other->collided = 1; return; }
  if (d->collided) { d->collided = 0, d->lost++; return; }
  if (k->first_lost && v.l4 && v.first_fragment && (v.protocol == 6 || v.protocol == 17)) {
    flow *w = find_flow(flow_key(f, &v, 1), now);
    if (!w->met) { w->met = 1, d->lost++; return; }
  }
  if (tcp && (k->idle_s || k->flow_police_mbit || k->reset_after_kb)) {
    flow *w = find_flow(flow_key(f, &v, k->flow_police_mbit == 0), now);
    if (syn) w->dead = 0, w->payload = 0;
    else if (k->idle_s && (double)(now - w->seen_at) > k->idle_s * 1e9) w->dead = 1;
    w->seen_at = now;
    if (w->dead) { d->forgotten++; return; }
    int payload = v.l4_bytes - (f[v.l4 + 12] >> 4) * 4;
    w->payload += payload > 0 ? (uint64_t)payload : 0;
    if (k->reset_after_kb && (double)w->payload > k->reset_after_kb * 1000 && payload > 0) {
      bytes = make_reset(f, &v);
      d->resets++;
    }
    if (k->flow_police_mbit &&
        !admits(&w->police_bytes, &w->police_at, k->flow_police_mbit, k->burst_kb * 1000, now, bytes)) {
      d->policed++;
      return;
    }
  }
  int hit = v.version && (!k->members || flow_key(f, &v, 0) / 7 % (uint64_t)k->members < (uint64_t)k->bad_members) &&
            (!k->only_proto || v.protocol == (int)k->only_proto) &&
            (k->only_tos < 0 || v.tos >> 2 == (int)k->only_tos) && (!k->only_openings || syn) &&
            (!k->above_bytes || v.ip_bytes > (int)k->above_bytes) &&
            (!k->below_bytes || v.ip_bytes < (int)k->below_bytes);
  if (k->dead && (double)(now - started) >= k->from_s * 1e9 && (hit || (!v.version && !k->members && !k->only_proto && k->only_tos < 0 && !k->only_openings && !k->above_bytes && !k->below_bytes))) {
    d->lost++;
    return;
  }
  if (hit && k->loss > 0 && (double)(now - started) >= k->from_s * 1e9 && chance() < k->loss) { d->lost++; return; }

  int tos = v.tos;
  if (v.version && k->set_dscp >= 0) tos = (tos & 3) | (int)k->set_dscp << 2;
  if (v.version && k->clear_ecn) tos &= ~3;
  if (v.version && k->set_ce && (tos & 3)) tos |= 3;
  if (tos != v.tos) {
    uint8_t *ip = f + v.ip;
    if (v.version == 4) ip[1] = (uint8_t)tos, checksum_ip(f, &v);
    else ip[0] = (uint8_t)((ip[0] & 0xf0) | tos >> 4), ip[1] = (uint8_t)((ip[1] & 15) | tos << 4);
    d->rewritten++;
  }
  if (syn && strip_options(k, f, &v)) checksum_tcp(f, &v), d->rewritten++;
  if (tcp && (k->renumber || other->f.renumber)) {
    renumber(f + v.l4, (uint32_t)k->renumber, (uint32_t)other->f.renumber);
    checksum_tcp(f, &v), d->rewritten++;
  }
  if (hit && v.l4 && v.l4_bytes > 64 && k->corrupt > 0 && chance() < k->corrupt) {
    f[v.l4 + 40 + (int)(chance() * (v.l4_bytes - 41))] ^= 1;
    d->corrupted++;
  }
  if (hit && tcp && v.l4_bytes > 200 && k->falsify > 0 && chance() < k->falsify) {
    f[v.l4 + 60 + (int)(chance() * (v.l4_bytes - 61))] ^= 1;
    checksum_tcp(f, &v);
    d->corrupted++;
  }
  if (k->police_mbit && !admits(&d->police_bytes, &d->police_at, k->police_mbit, k->burst_kb * 1000, now, bytes)) {
    d->policed++;
    return;
  }

  uint64_t *free_at = k->shared ? &shared_free_at : &d->free_at, leaves = now;
  if (k->stall_ms) {
    /* Whose turn comes within a stall waits for its end, too: what a rate left over is not carried meanwhile. */
    uint64_t turn = past_stall(k, *free_at > now ? *free_at : now);
    if (*free_at < turn) *free_at = turn;
  }
  if (sleeps) {
    uint64_t awake = now + (uint64_t)(k->wakes_ms * 1e6);
    if (*free_at < awake) *free_at = awake;
  }
  if (k->rate_mbit || *free_at > now) {
    uint64_t start = *free_at > now ? *free_at : now;
    if (k->rate_mbit && (double)(start - now) > k->queue_ms * 1e6) { d->queue_lost++; return; }
    /* 24: preamble, checksum and gap, which a real link carries too. */
    *free_at = start + (k->rate_mbit ? (uint64_t)((bytes + 24) * 8e3 / k->rate_mbit) : 0);
    leaves = *free_at;
  }
  /* A rate and a way of their own: what is not hit does not wait for it. */
  uint64_t *last = &d->last_leaves;
  if (hit && (k->slow_mbit || k->late_ms)) {
    d->slow_bytes += (uint64_t)bytes;
    if (k->slow_mbit && (double)d->slow_bytes > k->slow_after_kb * 1000) {
      uint64_t start = d->slow_free_at > leaves ? d->slow_free_at : leaves;
      if ((double)(start - leaves) > k->queue_ms * 1e6) { d->queue_lost++; return; }
      leaves = d->slow_free_at = start + (uint64_t)((bytes + 24) * 8e3 / k->slow_mbit);
    }
    if ((double)(now - started) >= k->from_s * 1e9) leaves += (uint64_t)(k->late_ms * 1e6);
    last = &d->late_leaves;
  }
  leaves += (uint64_t)(k->delay_ms * 1e6 + chance() * k->jitter_ms * 1e6);
  if (k->spike_share && chance() < k->spike_share) leaves += (uint64_t)(k->spike_ms * 1e6);
  if (hit && k->reorder > 0 && chance() < k->reorder) {
    leaves += (uint64_t)(k->reorder_ms * 1e6);
    d->reordered++;
  } else {
    if (leaves < *last) leaves = *last;
    *last = leaves;
  }
  enqueue(f, bytes, d->out, leaves);
  if (hit && k->duplicate > 0 && chance() < k->duplicate) {
    enqueue(f, bytes, d->out, leaves);
    d->duplicated++;
  }
}

static int fail(const char *what) {
  fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
  exit(2);
}

static int open_end(char *text) {
  char *kind = strtok(text, ":"), *space = strtok(NULL, ":"), *name = strtok(NULL, ":"), path[256];
  if (!name || strlen(name) >= IFNAMSIZ) errno = EINVAL, fail("an end is KIND:NAMESPACE:INTERFACE");
  snprintf(path, sizeof path, "/run/netns/%s", space);
  int handle = open(path, O_RDONLY | O_CLOEXEC);
  if (handle < 0 || setns(handle, CLONE_NEWNET) < 0) fail(path);
  close(handle);
  if (!strcmp(kind, "tap")) {
    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    memcpy(request.ifr_name, name, strlen(name) + 1);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0) fail(name);
    return tap;
  }
  int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, room = 32 << 20;
  struct ifreq request = {0};
  memcpy(request.ifr_name, name, strlen(name) + 1);
  if (s < 0 || ioctl(s, SIOCGIFINDEX, &request) < 0) fail(name);
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = request.ifr_ifindex};
  setsockopt(s, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  if (bind(s, (struct sockaddr *)&at, sizeof at) < 0) fail(name);
  return s;
}

static void set_fault(const char *text) {
  const char *dot = strchr(text, '.'), *equals = dot ? strchr(dot, '=') : NULL;
  if (!equals) errno = EINVAL, fail(text);
  size_t key_bytes = (size_t)(equals - dot - 1);
  int first = *text == 'i', last = *text != 'o', known = 0;
  for (int i = first; i <= last; i++) {
#define KEY(name, help) \
  if (key_bytes == strlen(#name) && !strncmp(dot + 1, #name, key_bytes)) way[i].f.name = atof(equals + 1), known = 1;
    KEYS
#undef KEY
  }
  if (!known) errno = EINVAL, fail(text);
}

static void on_signal(int number) { (void)number; ended = 1; }

static void report(void) {
  for (int i = 0; i < 2; i++) {
    direction *d = &way[i];
    printf("%s\"%s\": {\"frames\": %lu, \"lost\": %lu, \"queue_lost\": %lu, \"policed\": %lu, \"duplicated\": %lu, "
           "\"reordered\": %lu, \"corrupted\": %lu, \"rewritten\": %lu, \"forgotten\": %lu, \"resets\": %lu}%s",
           i ? "" : "{", i ? "in" : "out", d->frames, d->lost, d->queue_lost, d->policed, d->duplicated, d->reordered,
           d->corrupted, d->rewritten, d->forgotten, d->resets, i ? "}\n" : ", ");
  }
}

int main(int count, char **texts) {
  if (count < 3) {
    fprintf(stderr, "usage: wire END END [out|in|both.KEY=VALUE ...]\n");
#define KEY(name, help) fprintf(stderr, "  %-18s %s\n", #name, help);
    KEYS
#undef KEY
    return 2;
  }
  for (int i = 0; i < 2; i++)
    way[i].f = (faults){.queue_ms = 50, .burst_kb = 64, .set_dscp = -1, .only_tos = -1}, way[i].police_bytes = 1e9;
  for (int i = 3; i < count; i++) set_fault(texts[i]);
  int ends[2] = {open_end(texts[1]), open_end(texts[2])};
  way[0].in = way[1].out = ends[0], way[0].out = way[1].in = ends[1];

  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL), sigaction(SIGINT, &action, NULL);
  prctl(PR_SET_PDEATHSIG, SIGTERM), prctl(PR_SET_TIMERSLACK, 1);
  /* A wire that waits for a processor is a worse wire than the one that was asked for. */
  struct sched_param priority = {.sched_priority = 1};
  sched_setscheduler(0, SCHED_RR, &priority);
  started = now_ns();
  way[0].police_at = way[1].police_at = started;
  puts("wire: up"), fflush(stdout);

  static uint8_t data[FRAME_MAX];
  while (!ended) {
    uint64_t now = now_ns();
    while (heap_used && heap[0]->at <= now) {
      frame *f = pop();
      /* Too long for the interface, or its queue is full: lost, as on a wire. */
      if (write(f->out, f->data, (size_t)f->bytes) < 0) {}
      free(f);
    }
    struct timespec wait = {1, 0};
    if (heap_used) {
      uint64_t left = heap[0]->at > now ? heap[0]->at - now : 0;
      wait = (struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    }
    struct pollfd polls[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLIN, 0}};
    if (ppoll(polls, 2, &wait, NULL) <= 0) continue;
    for (int i = 0; i < 2; i++)
      for (int turn = 0; polls[i].revents && turn < 64; turn++) {
        ssize_t bytes = read(ends[i], data, sizeof data);
        if (bytes <= 14) break;
        carry(&way[i], data, (int)bytes, now_ns());
      }
  }
  report();
  return 0;
}
