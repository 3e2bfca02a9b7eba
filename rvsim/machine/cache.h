/* Caches: which lines they hold, what they count, how long the core waits. rvsim/timing/cache_model.py defines what is right.
 *
 * Most accesses change nothing but the order in which the lines of a set were used, or not even that. Lines of which this is known are in a
 * table, where the interpreter and compiled code look themselves; everything else comes here. So hits are not counted: they are the accesses
 * that did not miss. Under LRU whoever finds a data cache's line in the table writes down when, and the order is made of times when a line has
 * to go. Of tree-PLRU, and of an instruction cache, the table holds the lines that their sets used last: with these nothing changes.
 */
#ifndef RVSIM_CACHE_H
#define RVSIM_CACHE_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LRU, CACHE_PLRU, CACHE_RANDOM };
enum { RECENT = 4096, FEW_LINES = 1 << 14 };
#define NO_LINE 0xffffffffu
static const uint32_t no_key = NO_LINE; /* of no access */

/* Lines by the low bits of their numbers. */
struct recent {
    uint32_t lines[2][RECENT]; /* of which a load [0], a store [1] changes at most the time; or NO_LINE */
    uint64_t used[RECENT];     /* when */
};

struct cache {
    uint32_t set_count, ways, line_shift, policy;
    uint32_t back, allocate;    /* stores: write back, allocate */
    uint32_t timed;             /* users of the table write down when they used a line: it may hold every line of the cache */
    uint32_t refill_cycles, writeback_cycles, write_cycles;
    uint32_t random;            /* state of the generator */
    uint32_t ranked;            /* the ways of each set are in the order of use, the last used first, and `used` says nothing */
    uint32_t *lines;            /* [set][way]: number of the line << 1 | dirty, or NO_LINE */
    uint64_t *used;             /* [set][way]: LRU: when, unless the table has it; time runs down, modulo 2^64 */
    uint32_t *last;             /* [set]: number of the line used last, or NO_LINE */
    uint64_t *tree;             /* [set]: bit n is node n of the tree, 1 its root */
    uint64_t clock;             /* time of those who have none */
    struct recent *recent, own; /* the table; struct hart has one where compiled code finds it */
    uint64_t misses[2], refills, evictions, write_backs, passed_stores, stall_cycles;
};

struct missed { uint64_t misses[3], cycles; }; /* of one instruction: fetch, load, store */

static void cache_forget_recent(struct cache *c) { memset(c->recent->lines, 0xff, sizeof c->recent->lines); }

static void cache_free(struct cache *c)
{
    if (!c) return;
    free(c->lines);
    free(c->used);
    free(c->last);
    free(c->tree);
    free(c);
}

/* A cache without lines in it; the caller fills in policy, stores, cycles and seed. NULL without memory. */
static struct cache *cache_new(uint32_t set_count, uint32_t ways, uint32_t line_shift)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->set_count = set_count, c->ways = ways, c->line_shift = line_shift;
    c->ranked = 1;
    c->lines = malloc((size_t)set_count * ways * sizeof *c->lines);
    c->used = calloc((size_t)set_count * ways, sizeof *c->used);
    c->last = malloc(set_count * sizeof *c->last);
    c->tree = calloc(set_count, sizeof *c->tree);
    if (!c->lines || !c->used || !c->last || !c->tree) { cache_free(c); return NULL; }
    memset(c->lines, 0xff, (size_t)set_count * ways * sizeof *c->lines);
    memset(c->last, 0xff, set_count * sizeof *c->last);
    c->recent = &c->own;
    cache_forget_recent(c);
    return c;
}

/* Let the table be elsewhere. */
static void cache_move_recent(struct cache *c, struct recent *to)
{
    *to = *c->recent;
    c->recent = to;
}

static void cache_invalidate(struct cache *c)
{
    memset(c->lines, 0xff, (size_t)c->set_count * c->ways * sizeof *c->lines);
    memset(c->last, 0xff, c->set_count * sizeof *c->last);
    cache_forget_recent(c);
}

/* ------------------------------------------------------------ the table, and times */
static inline uint32_t cache_set(const struct cache *c, uint32_t line) { return line & (c->set_count - 1); }
static inline int is_recent(const struct cache *c, uint32_t line) { return c->recent->lines[0][line % RECENT] == line; }
static inline uint32_t way_of(const struct cache *c, const uint32_t *lines, uint32_t line)
{
    uint32_t way = 0;
    while (way < c->ways && lines[way] >> 1 != line) way++;
    return way;
}

/* Under LRU the table may be the only one to know. */
static inline int is_dirty(const struct cache *c, size_t n)
{
    uint32_t line = c->lines[n] >> 1;
    return c->lines[n] != NO_LINE && (c->lines[n] & 1 || (c->timed && c->back && c->recent->lines[1][line % RECENT] == line));
}

/* Write changed lines back and keep them; the cycles it takes. */
static uint64_t cache_clean(struct cache *c)
{
    uint64_t cleaned = 0;
    for (size_t n = 0; n < (size_t)c->set_count * c->ways; n++)
        if (is_dirty(c, n)) { c->lines[n] &= ~1u; cleaned++; }
    if (c->back) memset(c->recent->lines[1], 0xff, sizeof c->recent->lines[1]);
    c->write_backs += cleaned;
    c->stall_cycles += cleaned * c->writeback_cycles;
    return cleaned * c->writeback_cycles;
}

static void cache_forget_line(struct cache *c, uint32_t line)
{
    if (is_recent(c, line)) c->recent->lines[0][line % RECENT] = c->recent->lines[1][line % RECENT] = NO_LINE;
}

/* The line, which its set holds, is the one used last. */
static void cache_remember(struct cache *c, uint32_t line, int dirty, uint64_t when)
{
    uint32_t slot = line % RECENT, set = cache_set(c, line), other = c->recent->lines[0][slot];
    if (c->timed && other != line && other != NO_LINE) { /* which stays in the cache, with its time */
        size_t first = (size_t)cache_set(c, other) * c->ways, n = first + way_of(c, c->lines + first, other);
        c->used[n] = c->recent->used[slot];
        c->lines[n] |= (uint32_t)is_dirty(c, n);
    }
    if (!c->timed && c->policy != CACHE_RANDOM && c->last[set] != line) {
        if (c->last[set] != NO_LINE) cache_forget_line(c, c->last[set]);
        c->last[set] = line;
    }
    c->recent->lines[0][slot] = line;
    c->recent->lines[1][slot] = (c->back ? dirty : c->write_cycles == 0) ? line : NO_LINE;
    c->recent->used[slot] = when;
}

/* How long ago a way was used; ages of lines without a time come behind all others, and empty ways last. */
static inline uint64_t cache_age(const struct cache *c, size_t n, uint64_t when)
{
    uint32_t line = c->lines[n] >> 1;
    if (c->lines[n] == NO_LINE) return ~(uint64_t)0;
    return (c->timed && is_recent(c, line) ? c->recent->used[line % RECENT] : c->used[n]) - when;
}

/* Give times to lines that are in order; those used from now on are younger. */
static void cache_date(struct cache *c, uint64_t when)
{
    for (uint32_t set = 0; set < c->set_count; set++)
        for (uint32_t way = 0; way < c->ways; way++) c->used[(size_t)set * c->ways + way] = when + ((uint64_t)1 << 62) + way;
    c->ranked = 0;
}

/* Whether times change with the instructions allowed, which spares each access a subtraction. */
static inline int cache_shifts(const struct cache *c) { return c->timed && c->set_count * c->ways <= FEW_LINES; }

/* Let all times so far be later by so much. */
static void cache_shift(struct cache *c, uint64_t by)
{
    for (uint32_t slot = 0; slot < RECENT; slot++) c->recent->used[slot] += by;
    for (size_t n = 0; n < (size_t)c->set_count * c->ways; n++) c->used[n] += by;
}

/* Put the ways of each set in order and forget times: for snapshots, and before times come round. */
static void cache_rank(struct cache *c, uint64_t when)
{
    if (c->policy != CACHE_LRU || c->ranked) return;
    for (uint32_t set = 0; set < c->set_count; set++) {
        size_t first = (size_t)set * c->ways;
        for (uint32_t way = 0; way < c->ways; way++) {
            c->used[first + way] = cache_age(c, first + way, when);
            c->lines[first + way] |= (uint32_t)is_dirty(c, first + way);
        }
        for (uint32_t way = 1; way < c->ways; way++) {
            uint64_t age = c->used[first + way];
            uint32_t line = c->lines[first + way], to = way;
            for (; to && c->used[first + to - 1] > age; to--) {
                c->used[first + to] = c->used[first + to - 1];
                c->lines[first + to] = c->lines[first + to - 1];
            }
            c->used[first + to] = age;
            c->lines[first + to] = line;
        }
    }
    cache_forget_recent(c);
    memset(c->last, 0xff, c->set_count * sizeof *c->last);
    c->ranked = 1;
}

/* The way that the next line of a set goes to. */
static uint32_t cache_victim(struct cache *c, uint32_t set, uint64_t when)
{
    uint32_t way, node, oldest = 0;
    size_t first = (size_t)set * c->ways;
    if (c->policy == CACHE_LRU) {
        uint64_t most = cache_age(c, first, when), age;
        for (way = 1; way < c->ways; way++)
            if ((age = cache_age(c, first + way, when)) > most) { most = age; oldest = way; }
        return oldest;
    }
    for (way = 0; way < c->ways; way++)
        if (c->lines[first + way] == NO_LINE) return way;
    if (c->policy == CACHE_RANDOM) {
        c->random ^= c->random << 13;
        c->random ^= c->random >> 17;
        c->random ^= c->random << 5;
        return c->random % c->ways;
    }
    for (node = 1; node < c->ways;) node = 2 * node + (c->tree[set] >> node & 1);
    return node - c->ways;
}

/* The first store, under LRU, to a line that is in the table; 0 when it is something else, and nothing has been done. */
static inline int cache_dirtied(struct cache *c, uint32_t line, uint64_t when)
{
    uint32_t slot = line % RECENT;
    if (!c->back || !is_recent(c, line)) return 0;
    c->recent->lines[1][slot] = line; /* which is enough: is_dirty */
    c->recent->used[slot] = when;
    return 1;
}

/* Read (0) or write (1) in one line; the cycles it stalls. Times run down. */
static uint32_t cache_access(struct cache *c, uint32_t line, int store, uint64_t when, int *missed)
{
    uint32_t set = cache_set(c, line), *lines = c->lines + (size_t)set * c->ways, cycles = 0;
    uint32_t way = way_of(c, lines, line);
    if (c->ranked && c->policy == CACHE_LRU) cache_date(c, when);
    *missed = way == c->ways;
    if (*missed) {
        c->misses[store]++;
        if (store && !c->allocate) {
            c->passed_stores++;
            c->stall_cycles += c->write_cycles;
            return c->write_cycles;
        }
        way = cache_victim(c, set, when);
        if (lines[way] != NO_LINE) {
            c->evictions++;
            if (is_dirty(c, (size_t)set * c->ways + way)) { c->write_backs++; cycles += c->writeback_cycles; }
            cache_forget_line(c, lines[way] >> 1);
        }
        lines[way] = line << 1;
        c->refills++;
        cycles += c->refill_cycles;
    }
    if (store && c->back) lines[way] |= 1;
    else if (store) { c->passed_stores++; cycles += c->write_cycles; }
    c->used[(size_t)set * c->ways + way] = when;
    if (c->policy == CACHE_PLRU)
        for (uint32_t node = way + c->ways; node > 1; node >>= 1) {
            uint64_t bit = 1ull << (node >> 1);
            c->tree[set] = node & 1 ? c->tree[set] & ~bit : c->tree[set] | bit;
        }
    cache_remember(c, line, is_dirty(c, (size_t)set * c->ways + way), when);
    c->stall_cycles += cycles;
    return cycles;
}
#endif
