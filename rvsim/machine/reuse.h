/* Stack distances: one run gives the misses of LRU caches of every size and associativity.
 *
 * An LRU cache of w ways hits where fewer than w other lines of the set were used since (Mattson, Gecsei, Slutz, Traiger, IBM Systems Journal 9
 * (1970) 2). So each set keeps the order of use of its lines, and of each access its place in that order is counted. A line that was used last
 * in its set is last used in its set of any cache with more sets: the search ends there.
 */
#ifndef RVSIM_REUSE_H
#define RVSIM_REUSE_H
#include "cache.h"

enum { REUSE_LEVELS = 20, REUSE_WAYS = 64 }; /* at most so many numbers of sets, 1, 2, 4, ..., and so many ways */

struct reuse {
    uint32_t levels, line_shift;
    uint32_t ways[REUSE_LEVELS];    /* that are looked at */
    uint32_t *stacks[REUSE_LEVELS]; /* [set][place]: lines, the last used first; NO_LINE behind them */
    uint64_t places[REUSE_LEVELS][REUSE_WAYS + 1]; /* accesses by place, but 0; those further down, or new, in the last */
    uint32_t last;                  /* line used last */
    struct recent recent;           /* that line alone, as in struct cache; nobody asks when */
};

static void reuse_free(struct reuse *r)
{
    if (!r) return;
    for (uint32_t k = 0; k < r->levels; k++) free(r->stacks[k]);
    free(r);
}

static void reuse_forget(struct reuse *r)
{
    for (uint32_t k = 0; k < r->levels; k++) memset(r->stacks[k], 0xff, ((size_t)r->ways[k] << k) * sizeof(uint32_t));
    memset(r->recent.lines, 0xff, sizeof r->recent.lines);
    r->last = NO_LINE;
}

/* For caches of at most 2^(levels - 1) lines and `ways` ways; NULL without memory. */
static struct reuse *reuse_new(uint32_t levels, uint32_t ways, uint32_t line_shift)
{
    struct reuse *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->levels = levels, r->line_shift = line_shift;
    for (uint32_t k = 0; k < levels; k++) {
        r->ways[k] = ways < 1u << (levels - 1 - k) ? ways : 1u << (levels - 1 - k);
        if (!(r->stacks[k] = malloc(((size_t)r->ways[k] << k) * sizeof(uint32_t)))) { reuse_free(r); return NULL; }
    }
    reuse_forget(r);
    return r;
}

static void reuse_access(struct reuse *r, uint32_t line)
{
    if (line == r->last) return;
    for (uint32_t k = 0; k < r->levels; k++) {
        uint32_t *stack = r->stacks[k] + (size_t)(line & ((1u << k) - 1)) * r->ways[k], place = 1, above = stack[0], here;
        if (above == line) break;
        stack[0] = line;
        for (; place < r->ways[k]; place++) { /* each moves down one place, into that of the line */
            here = stack[place];
            stack[place] = above;
            if (here == line) break;
            above = here;
        }
        r->places[k][place]++;
    }
    r->recent.lines[0][r->last % RECENT] = r->recent.lines[1][r->last % RECENT] = NO_LINE;
    r->last = line;
    r->recent.lines[0][line % RECENT] = r->recent.lines[1][line % RECENT] = line;
}
#endif
