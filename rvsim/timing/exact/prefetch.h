/* A prefetch buffer: words fetched in sequence ahead of the decoder, over a bus that answers in order.
 *
 * A word is asked for once there is room for its answer and no more than `outstanding` are under way; what is taken or comes in cycle t makes
 * room in t + 1. Its answer comes 1 + wait cycles later. Where wait states block (AHB, Wishbone), the bus takes the next request with the
 * answer before it, and a request that is put up stays up; where they do not (OBI), it takes one a cycle.
 * A redirect in cycle t asks for its target from t on; what was asked for before comes all the same, is thrown away, and counts till then.
 *
 * Nobody knows of a word that it is asked for before it is known that no redirect comes first. So the buffer keeps when there is room for the next
 * words, and memory is asked as the time gets there: each word once, in the order of the requests. No cycle is stepped.
 */
#ifndef RVSIM_PREFETCH_H
#define RVSIM_PREFETCH_H
#include "operation.h"

enum { PREFETCH_MAX = 8, PREFETCH_LONG_AGO = -(1 << 14) };

typedef struct {
    int depth;       /* words, those under way included: 2 to PREFETCH_MAX */
    int outstanding; /* words under way, at most */
    int blocking;    /* wait states keep the bus */
    int one_port;    /* loads and stores take the same bus, and come first */
} prefetch_shape;

typedef struct {                  /* times relative to the last retirement */
    int16_t time[PREFETCH_MAX];   /* of the next words: in which cycle the first `known` come; from which on there is room for the others */
    int16_t last;                 /* in which cycle the one that was asked for last comes, thrown away or not */
    int16_t busy_from, busy_to;   /* the data access that has the one port, from its request to the next one's first cycle */
    uint8_t known, padding;
} prefetch;

/* First cycle in which the next word can be asked for. */
static inline __attribute__((always_inline)) int prefetch_due(const prefetch *f, prefetch_shape b)
{
    int due = f->time[f->known];
    return f->known >= b.outstanding ? later(due, f->time[f->known - b.outstanding] + 1) : due;
}

/* For the report: the cycle in which the first word is asked for, if it is not yet. */
static inline int prefetch_asked(const prefetch *f) { return f->known ? PREFETCH_LONG_AGO : f->time[0]; }

/* Asks for the next word; `head` is the address of the first one. */
static inline __attribute__((always_inline)) void prefetch_ask(prefetch *f, prefetch_shape b, const timing_memory *m, uint32_t head)
{
    int k = f->known++, request = f->time[k];
    if (k >= b.outstanding) request = later(request, f->time[k - b.outstanding] + 1);
    int latency = 1 + timing_fetch_wait(m, head + 4 * (uint32_t)k);
    if (b.blocking) request = later(request, f->last);
    if (b.one_port && request < f->busy_to && request + (b.blocking ? latency : 1) > f->busy_from) request = f->busy_to;
    f->last = (int16_t)later(request + latency, f->last + 1);
    f->time[k] = f->last;
    if (k + 1 < b.depth) f->time[k + 1] = (int16_t)later(f->time[k + 1], request + 1);
}

/* The cycle in which word `k` comes. */
static inline __attribute__((always_inline)) int prefetch_come(prefetch *f, prefetch_shape b, const timing_memory *m, uint32_t head, int k)
{
    while (f->known <= k) prefetch_ask(f, b, m, head);
    return f->time[k];
}

/* Time goes by, up to and including a cycle before which there is no redirect. */
static inline __attribute__((always_inline)) void prefetch_until(prefetch *f, prefetch_shape b, const timing_memory *m, uint32_t head, int time)
{
    while (f->known < b.depth && prefetch_due(f, b) <= time) prefetch_ask(f, b, m, head);
}

/* The words behind the first one move up. */
static inline __attribute__((always_inline)) void prefetch_shift(prefetch *f, prefetch_shape b, int time)
{
    for (int k = 1; k < PREFETCH_MAX; k++)
        if (k < b.depth) f->time[k - 1] = f->time[k]; /* without a loop where the depth is a constant */
    f->time[b.depth - 1] = (int16_t)(time + 1);
    f->known--;
}

/* The first word, which has come, is taken in cycle `time`. */
static inline __attribute__((always_inline)) void prefetch_take(prefetch *f, prefetch_shape b, const timing_memory *m, uint32_t head, int time)
{
    prefetch_until(f, b, m, head, time);
    prefetch_shift(f, b, time);
    if (f->known < b.depth) f->time[f->known] = (int16_t)later(f->time[f->known], time + 1);
}

/* The first word, which is asked for, goes on in cycle `time`, whenever that is. */
static inline __attribute__((always_inline)) void prefetch_pass(prefetch *f, prefetch_shape b, int time)
{
    int came = f->time[0], next = b.outstanding - 1;
    prefetch_shift(f, b, time);
    if (next >= f->known) f->time[next] = (int16_t)later(f->time[next], came + 1);
}

/* Fetching goes on elsewhere from cycle `time` on. */
static inline __attribute__((always_inline)) void prefetch_redirect(prefetch *f, prefetch_shape b, const timing_memory *m, uint32_t head, int time)
{
    int16_t room[PREFETCH_MAX];
    prefetch_until(f, b, m, head, time - 1);
    int asked = f->known;
    for (int k = 0; k < b.depth; k++) {
        int from = time + k, before = asked + k - b.outstanding;
        if (before >= 0 && before < asked) from = later(from, f->time[before] + 1);
        if (!asked) from = later(from, f->time[k]); /* nothing was asked for since a redirect: what that waits for is still under way */
        room[k] = (int16_t)from;
    }
    for (int k = 0; k < b.depth; k++) f->time[k] = room[k];
    f->known = 0;
}

/* New origin of time. The next instruction is taken in cycle `horizon` at the earliest, up to which time has gone by: what came before is the
 * same whenever it was. */
static inline __attribute__((always_inline)) void prefetch_rebase(prefetch *f, prefetch_shape b, int origin, int horizon)
{
    int next = horizon + 1;
    for (int k = 0; k < b.depth; k++) f->time[k] = (int16_t)(later(f->time[k], k < f->known ? horizon : next++) - origin);
    f->last = (int16_t)(later(f->last, horizon) - origin);
    if (b.one_port) {
        if (f->busy_to <= horizon + 1) f->busy_from = f->busy_to = PREFETCH_LONG_AGO;
        else f->busy_from = (int16_t)(f->busy_from - origin), f->busy_to = (int16_t)(f->busy_to - origin);
    }
}

static inline __attribute__((always_inline)) int prefetch_sound(const prefetch *f)
{
    int far = f->known > PREFETCH_MAX || f->last > -PREFETCH_LONG_AGO || f->last < PREFETCH_LONG_AGO || f->busy_to > -PREFETCH_LONG_AGO ||
              f->busy_to < PREFETCH_LONG_AGO;
    for (int k = 0; k < PREFETCH_MAX; k++) far |= f->time[k] > -PREFETCH_LONG_AGO || f->time[k] < PREFETCH_LONG_AGO;
    return !far;
}
#endif
