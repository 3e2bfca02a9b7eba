/* Which pages of code memory are writable, and therefore not executable: those that are being written, between two runs. Few at a time,
 * as the host takes time for each that has been used.
 */
#ifndef RVSIM_JIT_PAGES_H
#define RVSIM_JIT_PAGES_H
#include "jit_counts.h"

enum { HOT_ROOM = 1 << 17, COLD_ROOM = 1 << 16 }; /* the most that one trace takes, in line and out of line */

static uint8_t *page_of(const struct jit *j, uint8_t *at) { return j->memory + ((size_t)(at - j->memory) & ~(j->page - 1)); }

/* 0 when the host refuses. */
static int allow(struct jit *j, uint8_t *from, uint8_t *to, int access)
{
    if (from < to && mprotect(from, (size_t)(to - from), access)) { j->refused = 1; return 0; }
    return 1;
}

/* Make a part's memory writable from `at` on, enough for a trace; its pages so far stay so. */
static int open_part(struct jit *j, struct pages *part, uint8_t *at, size_t room, uint8_t *limit)
{
    if (at + room <= part->to) return 1;
    if (!part->to) part->from = part->to = page_of(j, at);
    uint8_t *from = part->to;
    part->to = (size_t)(limit - at) < 2 * room ? limit : page_of(j, at + 2 * room);
    return allow(j, from, part->to, PROT_READ | PROT_WRITE);
}

/* Let a jump of code that is there be changed. */
static int open_jump(struct jit *j, uint8_t *at)
{
    if ((at >= j->hot_pages.from && at < j->hot_pages.to) || (at >= j->jump_pages.from && at + 4 <= j->jump_pages.to)) return 1;
    uint8_t *from = page_of(j, at), *to = page_of(j, at + 3) + j->page;
    if (!allow(j, j->jump_pages.from, j->jump_pages.to, PROT_READ | PROT_EXEC)) return 0;
    j->jump_pages = (struct pages){NULL, NULL};
    if (j->hot_pages.from < j->hot_pages.to && to > j->hot_pages.from) { to = j->hot_pages.from; j->hot_pages.from = from; }
    else j->jump_pages = (struct pages){from, to};
    return allow(j, from, to, PROT_READ | PROT_WRITE);
}

/* Make all code executable again, and none writable. */
static int close_code(struct jit *j)
{
    struct pages *all[] = {&j->hot_pages, &j->cold_pages, &j->jump_pages};
    for (int n = 0; n < 3; n++) {
        if (!allow(j, all[n]->from, all[n]->to, PROT_READ | PROT_EXEC)) return 0;
        *all[n] = (struct pages){NULL, NULL};
    }
    return 1;
}
#endif
