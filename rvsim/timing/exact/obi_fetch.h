/* What Ibex and CV32E40P share: OBI memory with pipelined responses, and the prefetcher in front of the decoder.
 *
 * OBI as the cores use it (OBI 1.2, section 3; data README, "Memory configurations"): a request is granted in the cycle it is
 * made; its response comes 1 + wait cycles later; responses keep the order of the requests; the next request need not wait for it.
 *
 * Both prefetchers fetch 32-bit words in sequence as long as room is left, and have at most two requests in flight:
 *  Ibex      rtl/ibex_prefetch_buffer.sv: NUM_REQS = 2 outstanding, FIFO of NUM_REQS + 1 words; a request needs
 *            outstanding < 2 and outstanding + FIFO words < 3 (fifo_ready, valid_new_req).
 *  CV32E40P  rtl/cv32e40p_prefetch_buffer.sv: FIFO_DEPTH = 2; a request needs outstanding + FIFO words < 2 (trans_valid_o).
 * A word passes the empty FIFO in the cycle of its response. All terms are registered: what is popped or answered in cycle t
 * makes room in t + 1. So word k of a sequence is requested at
 *      max(request[k-1] + 1, arrival[k-2] + 1, pop[k-depth] + 1)
 * which depends only on words before it: the queue below holds the next `depth` words, requested or not, and a pop at its head
 * appends one. No cycle is stepped.
 * A redirect in cycle t (a branch, jump, trap) requests its target in t; words requested before t that have not arrived by then are
 * thrown away when they do, and count as outstanding till then; those that would be requested in t or later never are.
 */
#ifndef RVSIM_OBI_FETCH_H
#define RVSIM_OBI_FETCH_H
#include "operation.h"

enum { OBI_OUTSTANDING = 2, OBI_DEPTH_MAX = 3, OBI_LONG_AGO = -(1 << 14) };

typedef struct {                       /* times relative to the last retirement; [0]: the head */
    int16_t request[OBI_DEPTH_MAX], arrival[OBI_DEPTH_MAX];
} obi_fetch;

static inline int obi_fetch_latency(const timing_memory *m, uint32_t address) { return 1 + timing_fetch_wait(m, address); }
static inline int obi_data_latency(const timing_memory *m, uint32_t address, int store) { return 1 + timing_data_wait(m, address, store); }

/* The head leaves the queue in cycle `time`; `latency`: of the word at the new tail. */
static inline void obi_pop(obi_fetch *f, int depth, int time, int latency)
{
    int request = later(later(f->request[depth - 1], f->arrival[depth - OBI_OUTSTANDING]), time) + 1;
    int arrival = later(request + latency, f->arrival[depth - 1] + 1);
    for (int i = 1; i < depth; i++) f->request[i - 1] = f->request[i], f->arrival[i - 1] = f->arrival[i];
    f->request[depth - 1] = (int16_t)request;
    f->arrival[depth - 1] = (int16_t)arrival;
}

/* Fetching goes on at `target` from cycle `time`. */
static inline void obi_redirect(obi_fetch *f, int depth, int time, const timing_memory *m, uint32_t target)
{
    int before_last = OBI_LONG_AGO, last = OBI_LONG_AGO; /* arrivals of the last two words that were requested */
    for (int i = 0; i < depth; i++)
        if (f->request[i] < time) before_last = last, last = f->arrival[i];
    int request = time - 1;
    target &= ~3u;
    for (int i = 0; i < depth; i++, target += 4) {
        request = later(request, before_last) + 1;
        before_last = last;
        last = later(request + obi_fetch_latency(m, target), last + 1);
        f->request[i] = (int16_t)request;
        f->arrival[i] = (int16_t)last;
    }
}

/* New origin of time; what lies before `horizon`, the earliest cycle that anything can happen in, is the same whenever it was. */
static inline void obi_rebase(obi_fetch *f, int depth, int origin, int horizon)
{
    for (int i = 0; i < depth; i++) {
        f->arrival[i] = (int16_t)later(f->arrival[i] - origin, horizon);
        f->request[i] = (int16_t)later(f->request[i] - origin, horizon - 1);
    }
}

/* Whether a load or store takes two bus accesses: a word off its boundary, a half-word that crosses a word (the same rule in
 * ibex_load_store_unit.sv, split_misaligned_access, and cv32e40p_load_store_unit.sv, data_misaligned_o). */
static inline int obi_splits(const timing_op *op, uint32_t address) { return (address & 3) + op->width > 4; }

static inline int obi_sound(const obi_fetch *f)
{
    for (int i = 0; i < OBI_DEPTH_MAX; i++)
        if (f->request[i] > -OBI_LONG_AGO || f->arrival[i] > -OBI_LONG_AGO || f->request[i] < OBI_LONG_AGO || f->arrival[i] < OBI_LONG_AGO) return 0;
    return 1;
}

/* Attribution: `*mark` is the retirement that all causes charged so far lead to. */
static inline void obi_charge(timing_report *out, int *mark, int retirement, enum timing_cause cause)
{
    if (retirement > *mark) out->lost[cause] += (uint32_t)(retirement - *mark), *mark = retirement;
}
#endif
