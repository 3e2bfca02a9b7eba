/* What Ibex and CV32E40P share: OBI memory with pipelined responses, and the prefetcher in front of the decoder (prefetch.h).
 *
 * OBI as the cores use it (OBI 1.2, section 3; data README, "Memory configurations"): a request is granted in the cycle it is
 * made; its response comes 1 + wait cycles later; responses keep the order of the requests; the next request need not wait for it.
 *
 * Both prefetchers fetch 32-bit words in sequence as long as room is left, and have at most two requests in flight:
 *  Ibex      rtl/ibex_prefetch_buffer.sv: NUM_REQS = 2 outstanding, FIFO of NUM_REQS + 1 words; a request needs
 *            outstanding < 2 and outstanding + FIFO words < 3 (fifo_ready, valid_new_req).
 *  CV32E40P  rtl/cv32e40p_prefetch_buffer.sv: FIFO_DEPTH = 2; a request needs outstanding + FIFO words < 2 (trans_valid_o).
 * A word passes the empty FIFO in the cycle of its response. All terms are registered: what is popped or answered in cycle t
 * makes room in t + 1. A redirect in cycle t (a branch, jump, trap) requests its target in t; words requested before that have not arrived by
 * then are thrown away when they do, and count as outstanding till then; those that would be requested in t or later never are.
 */
#ifndef RVSIM_OBI_FETCH_H
#define RVSIM_OBI_FETCH_H
#include "prefetch.h"

static inline prefetch_shape obi_fetch(int depth) { return (prefetch_shape){.depth = depth, .outstanding = 2}; }
static inline int obi_data_latency(const timing_memory *m, uint32_t address, int store) { return 1 + timing_data_wait(m, address, store); }

static inline void obi_reset(prefetch *f, int depth)
{
    for (int k = 0; k < depth; k++) f->time[k] = (int16_t)k; /* BOOT_SET: pc_set with a request */
    f->last = f->busy_from = f->busy_to = PREFETCH_LONG_AGO;
}

/* Whether a load or store takes two bus accesses: a word off its boundary, a half-word that crosses a word (the same rule in
 * ibex_load_store_unit.sv, split_misaligned_access, and cv32e40p_load_store_unit.sv, data_misaligned_o). */
static inline int obi_splits(const timing_op *op, uint32_t address) { return (address & 3) + op->width > 4; }
#endif
