/* A double of libibverbs.so.1 for tests: one device without hardware, whose sends complete at once, and which fails
 * on demand in the ways no real device does when asked. Built by the tests with the system's compiler.
 * -DOLD leaves a function out, as an old library would. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <infiniband/verbs.h>

/* The header turns some of these names into macros. */
#undef ibv_query_port
#undef ibv_reg_mr

struct fake {
	int devices;         /* how many devices are listed */
	int open_errno;      /* opening fails */
	int reg_errno;       /* registration fails */
	int inline_max;      /* queue pairs with more inline than this are refused */
	int post_errno;      /* posting fails ... */
	int post_after;      /* ... after so many more requests were taken */
	int status;          /* completions carry this status */
	int silent;          /* sends never complete */
	int phantom;         /* the next poll reports a completion nobody asked for */
	int modify_errno;    /* connecting fails */
	int open_objects;    /* contexts, domains, queues, pairs and regions alive */
	int posts, polls;
	int max_qp_wr;
	int notify_errno;    /* completions are not announced */
};
struct fake fake = { .devices = 1, .inline_max = 1024, .max_qp_wr = 4096 };

static struct ibv_device device = { .name = "fake0" };
static struct ibv_device *list[2];
static struct ibv_async_event pending;
static int have_pending;

#define RING 16384
static struct ibv_wc ring[RING];
static unsigned head, tail;
struct posted { uint64_t id; };
static struct posted receives[RING];
static unsigned receive_head, receive_tail;
static struct ibv_qp *last_qp;

static void complete(uint64_t id, int opcode, unsigned len)
{
	struct ibv_wc *wc = &ring[tail++ % RING];
	memset(wc, 0, sizeof *wc);
	wc->wr_id = id;
	wc->status = fake.status;
	wc->opcode = opcode;
	wc->byte_len = len;
}

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	for (; wr; wr = wr->next) {
		if (fake.post_errno && fake.post_after-- <= 0) {
			*bad = wr;
			return fake.post_errno;
		}
		fake.posts++;
		if (!fake.silent && ((wr->send_flags & IBV_SEND_SIGNALED) || fake.status))
			complete(wr->wr_id, IBV_WC_SEND, 0);
	}
	return 0;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	for (; wr; wr = wr->next)
		receives[receive_tail++ % RING].id = wr->wr_id;
	return 0;
}

static int poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
	int got = 0;
	fake.polls++;
	if (fake.phantom) {
		fake.phantom = 0;
		memset(wc, 0, sizeof *wc);
		wc->wr_id = 123456;
		return 1;
	}
	while (got < n && head != tail)
		wc[got++] = ring[head++ % RING];
	return got;
}

static int req_notify(struct ibv_cq *cq, int solicited) { return fake.notify_errno; }

/* For the tests: a message of len bytes arrives. */
void fake_arrive(unsigned len)
{
	if (receive_head != receive_tail)
		complete(receives[receive_head++ % RING].id, IBV_WC_RECV, len);
}

/* For the tests: an asynchronous event happens, about the last queue pair if it concerns one. */
void fake_event(int type, int of_queue_pair)
{
	uint64_t one = 1;
	pending.event_type = type;
	pending.element.qp = of_queue_pair ? last_qp : NULL;
	have_pending = 1;
	(void)one;
}

struct fake *fake_state(void) { return &fake; }

struct ibv_device **ibv_get_device_list(int *n)
{
	list[0] = fake.devices ? &device : NULL;
	*n = fake.devices;
	return list;
}
void ibv_free_device_list(struct ibv_device **l) { }
const char *ibv_get_device_name(struct ibv_device *d) { return d->name; }

struct ibv_context *ibv_open_device(struct ibv_device *d)
{
	if (fake.open_errno) { errno = fake.open_errno; return NULL; }
	struct ibv_context *c = calloc(1, sizeof *c);
	c->device = d;
	c->async_fd = eventfd(0, 0);
	c->ops.post_send = post_send;
	c->ops.post_recv = post_recv;
	c->ops.poll_cq = poll_cq;
	c->ops.req_notify_cq = req_notify;
	fake.open_objects++;
	return c;
}
int ibv_close_device(struct ibv_context *c) { close(c->async_fd); free(c); fake.open_objects--; return 0; }

int ibv_query_device(struct ibv_context *c, struct ibv_device_attr *a)
{
	memset(a, 0, sizeof *a);
	a->max_qp = 1024; a->max_qp_wr = fake.max_qp_wr; a->max_cqe = 1 << 16;
	a->max_qp_rd_atom = 16; a->max_qp_init_rd_atom = 16; a->phys_port_cnt = 1;
	return 0;
}
int ibv_query_port(struct ibv_context *c, uint8_t port, struct _compat_ibv_port_attr *compat)
{
	struct ibv_port_attr *a = (struct ibv_port_attr *)compat;
	a->state = IBV_PORT_ACTIVE; a->max_mtu = a->active_mtu = IBV_MTU_4096; a->max_msg_sz = 1u << 30;
	return 0;
}
struct ibv_pd *ibv_alloc_pd(struct ibv_context *c)
{
	struct ibv_pd *p = calloc(1, sizeof *p); p->context = c; fake.open_objects++; return p;
}
int ibv_dealloc_pd(struct ibv_pd *p) { free(p); fake.open_objects--; return 0; }
struct ibv_mr *ibv_reg_mr(struct ibv_pd *p, void *addr, size_t len, int access)
{
	if (fake.reg_errno) { errno = fake.reg_errno; return NULL; }
	struct ibv_mr *m = calloc(1, sizeof *m);
	m->context = p->context; m->pd = p; m->addr = addr; m->length = len; m->lkey = 11; m->rkey = 22;
	fake.open_objects++;
	return m;
}
int ibv_dereg_mr(struct ibv_mr *m) { free(m); fake.open_objects--; return 0; }
struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *c)
{
	struct ibv_comp_channel *ch = calloc(1, sizeof *ch); ch->context = c; ch->fd = eventfd(0, 0); fake.open_objects++; return ch;
}
int ibv_destroy_comp_channel(struct ibv_comp_channel *ch) { close(ch->fd); free(ch); fake.open_objects--; return 0; }
struct ibv_cq *ibv_create_cq(struct ibv_context *c, int cqe, void *ctx, struct ibv_comp_channel *ch, int vec)
{
	struct ibv_cq *q = calloc(1, sizeof *q); q->context = c; q->channel = ch; q->cqe = cqe; fake.open_objects++; return q;
}
int ibv_destroy_cq(struct ibv_cq *q) { free(q); fake.open_objects--; return 0; }
int ibv_get_cq_event(struct ibv_comp_channel *ch, struct ibv_cq **cq, void **ctx) { errno = EAGAIN; return -1; }
void ibv_ack_cq_events(struct ibv_cq *cq, unsigned n) { }
struct ibv_qp *ibv_create_qp(struct ibv_pd *p, struct ibv_qp_init_attr *a)
{
	if ((int)a->cap.max_inline_data > fake.inline_max || (int)a->cap.max_send_wr > fake.max_qp_wr) { errno = EINVAL; return NULL; }
	struct ibv_qp *q = calloc(1, sizeof *q);
	q->context = p->context; q->pd = p; q->qp_num = 0x77; last_qp = q; fake.open_objects++;
	return q;
}
int ibv_modify_qp(struct ibv_qp *q, struct ibv_qp_attr *a, int mask)
{
	return a->qp_state == IBV_QPS_RTR ? fake.modify_errno : 0;
}
int ibv_destroy_qp(struct ibv_qp *q) { free(q); fake.open_objects--; return 0; }
#ifndef OLD
int ibv_get_async_event(struct ibv_context *c, struct ibv_async_event *e)
{
	if (!have_pending) { errno = EAGAIN; return -1; }
	have_pending = 0;
	*e = pending;
	return 0;
}
#endif
void ibv_ack_async_event(struct ibv_async_event *e) { }
