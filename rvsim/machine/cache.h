/* Caches: which lines they hold, what they count, how long the core waits. rvsim/timing/cache_model.py defines what is right.
 *
 * A hit in the line that its set used last changes nothing, under any policy. Such lines are in the table `recent`, which the interpreter and
 * compiled code look at themselves; everything else comes here. So hits are not counted: they are the accesses that did not miss.
 */
#ifndef RVSIM_CACHE_H
#define RVSIM_CACHE_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LRU, CACHE_PLRU, CACHE_RANDOM };
enum { RECENT = 1024, DATA_KEY_SHIFT = 4, FEW_WAYS = 8 };
#define NO_LINE 0xffffffffu
static const uint32_t no_key = NO_LINE; /* of no access */

struct cache {
    uint32_t set_count, ways, line_shift, policy;
    uint32_t back, allocate;    /* stores: write back, allocate */
    uint32_t refill_cycles, writeback_cycles, write_cycles;
    uint32_t random;            /* state of the generator */
    uint32_t *lines;            /* [set][way]: number of the line << 1 | dirty, or NO_LINE; under LRU the last used first */
    uint32_t *last;             /* [set]: number of the line used last, or NO_LINE */
    uint64_t *tree;             /* [set]: bit n is node n of the tree, 1 its root */
    /* Keys (address >> key_shift, of 2^key_shift bytes that lie in one line) by their low bits, where an access changes nothing: [0] loads, [1] stores. */
    uint32_t (*recent)[RECENT];
    uint32_t keys_here[2][RECENT]; /* unless they are in struct hart, where compiled code has them at hand */
    uint32_t key_shift, keys;   /* keys of a line; 0 where lines are smaller */
    uint64_t misses[2], refills, evictions, write_backs, passed_stores, stall_cycles;
};

struct missed { uint64_t misses[3], cycles; }; /* of one instruction: fetch, load, store */

static void cache_forget_recent(struct cache *c) { memset(c->recent, 0xff, 2 * sizeof *c->recent); }

static void cache_free(struct cache *c)
{
    if (!c) return;
    free(c->lines);
    free(c->last);
    free(c->tree);
    free(c);
}

/* A cache without lines in it; the caller fills in policy, stores, cycles and seed. NULL without memory. */
static struct cache *cache_new(uint32_t set_count, uint32_t ways, uint32_t line_shift, uint32_t key_shift)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->set_count = set_count, c->ways = ways, c->line_shift = line_shift, c->key_shift = key_shift;
    c->keys = line_shift >= key_shift ? 1u << (line_shift - key_shift) : 0;
    c->lines = malloc((size_t)set_count * ways * sizeof *c->lines);
    c->last = malloc(set_count * sizeof *c->last);
    c->tree = calloc(set_count, sizeof *c->tree);
    if (!c->lines || !c->last || !c->tree) { cache_free(c); return NULL; }
    memset(c->lines, 0xff, (size_t)set_count * ways * sizeof *c->lines);
    memset(c->last, 0xff, set_count * sizeof *c->last);
    c->recent = c->keys_here;
    cache_forget_recent(c);
    return c;
}

/* Let the table be elsewhere. */
static void cache_move_recent(struct cache *c, uint32_t (*to)[RECENT])
{
    memcpy(to, c->recent, 2 * sizeof *to);
    c->recent = to;
}

static void cache_invalidate(struct cache *c)
{
    memset(c->lines, 0xff, (size_t)c->set_count * c->ways * sizeof *c->lines);
    memset(c->last, 0xff, c->set_count * sizeof *c->last);
    cache_forget_recent(c);
}

/* Write changed lines back and keep them; the cycles it takes. */
static uint64_t cache_clean(struct cache *c)
{
    uint64_t cleaned = 0;
    for (size_t n = 0; n < (size_t)c->set_count * c->ways; n++)
        if (c->lines[n] != NO_LINE && c->lines[n] & 1) { c->lines[n] ^= 1; cleaned++; }
    if (c->back) memset(c->recent[1], 0xff, sizeof c->recent[1]);
    c->write_backs += cleaned;
    c->stall_cycles += cleaned * c->writeback_cycles;
    return cleaned * c->writeback_cycles;
}

/* The line has been used: it takes the place of the one its set used before. */
static inline void cache_remember(struct cache *c, uint32_t set, uint32_t line, int dirty)
{
    int free_stores = c->back ? dirty : c->write_cycles == 0;
    uint32_t old = c->last[set], k, key;
    if (old != line && old != NO_LINE)
        for (k = 0, key = old * c->keys; k < c->keys; k++, key++) {
            uint32_t *load = &c->recent[0][key % RECENT], *store = &c->recent[1][key % RECENT];
            *load |= -(uint32_t)(*load == key); /* NO_LINE is all ones */
            *store |= -(uint32_t)(*store == key);
        }
    c->last[set] = line;
    for (k = 0, key = line * c->keys; k < c->keys; k++, key++) {
        c->recent[0][key % RECENT] = key;
        c->recent[1][key % RECENT] = key | (free_stores ? 0 : NO_LINE);
    }
}

/* A hit that only LRU's order and a dirty bit know of; 0 when it is something else, and nothing has been done. */
static inline int cache_reorder(struct cache *c, uint32_t line, int store)
{
    uint32_t set = line & (c->set_count - 1), *lines = c->lines + (size_t)set * c->ways, ways = c->ways, way = ways, n, found;
    if (c->policy != CACHE_LRU || (store && !c->back) || ways > FEW_WAYS) return 0;
    for (n = 0; n < ways; n++) way = lines[n] >> 1 == line ? n : way; /* which way it is nobody predicts: no jumps */
    if (way == ways) return 0;
    found = lines[way] | (uint32_t)store;
    for (n = ways - 1; n; n--) lines[n] = lines[n <= way ? n - 1 : n];
    lines[0] = found;
    cache_remember(c, set, line, found & 1);
    return 1;
}

/* The way that the next line of a set goes to. */
static uint32_t cache_victim(struct cache *c, uint32_t set, const uint32_t *lines)
{
    uint32_t way, node;
    if (c->policy == CACHE_LRU) return c->ways - 1;
    for (way = 0; way < c->ways; way++)
        if (lines[way] == NO_LINE) return way;
    if (c->policy == CACHE_RANDOM) {
        c->random ^= c->random << 13;
        c->random ^= c->random >> 17;
        c->random ^= c->random << 5;
        return c->random % c->ways;
    }
    for (node = 1; node < c->ways;) node = 2 * node + (c->tree[set] >> node & 1);
    return node - c->ways;
}

/* Read (0) or write (1) in one line; the cycles it stalls. */
static uint32_t cache_access(struct cache *c, uint32_t line, int store, int *missed)
{
    uint32_t set = line & (c->set_count - 1), *lines = c->lines + (size_t)set * c->ways, way, found, cycles = 0;
    for (way = 0; way < c->ways && lines[way] >> 1 != line; way++) {}
    *missed = way == c->ways;
    if (*missed) {
        c->misses[store]++;
        if (store && !c->allocate) {
            c->passed_stores++;
            c->stall_cycles += c->write_cycles;
            return c->write_cycles;
        }
        way = cache_victim(c, set, lines);
        if (lines[way] != NO_LINE) {
            c->evictions++;
            if (lines[way] & 1) { c->write_backs++; cycles += c->writeback_cycles; }
        }
        lines[way] = line << 1;
        c->refills++;
        cycles += c->refill_cycles;
    }
    if (store && c->back) lines[way] |= 1;
    else if (store) { c->passed_stores++; cycles += c->write_cycles; }
    found = lines[way];
    if (c->policy == CACHE_LRU) {
        memmove(lines + 1, lines, way * sizeof *lines);
        lines[0] = found;
    } else if (c->policy == CACHE_PLRU)
        for (uint32_t node = way + c->ways; node > 1; node >>= 1) {
            uint64_t bit = 1ull << (node >> 1);
            c->tree[set] = node & 1 ? c->tree[set] & ~bit : c->tree[set] | bit;
        }
    cache_remember(c, set, line, found & 1);
    c->stall_cycles += cycles;
    return cycles;
}
#endif
