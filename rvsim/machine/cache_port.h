/* A cache (cache.h) as a core's pipeline sees it: each access has wait states. */
#ifndef RVSIM_CACHE_PORT_H
#define RVSIM_CACHE_PORT_H
#include "../timing/exact/operation.h"
#include "cache.h"

struct cache_port {
    timing_cache shown;
    struct cache *cache;
    uint32_t hit_wait;
    uint64_t accesses[2]; /* loads, stores */
};

static int cache_port_wait(timing_cache *shown, uint32_t address, int store)
{
    struct cache_port *p = (struct cache_port *)shown;
    int missed;
    p->accesses[store]++;
    return (int)(p->hit_wait + cache_access(p->cache, address >> p->cache->line_shift, store, --p->cache->clock, &missed));
}
#endif
