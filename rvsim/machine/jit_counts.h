/* What compiled code counts, and how that becomes the counts of blocks.
 *
 * A trace is a path of blocks with one entry. It counts only how it is left: then the blocks up to there have been entered once more, and
 * those before it have been left along the path. fold_trace adds that to struct block, which is the one truth; whoever reads counts of
 * blocks calls jit_fold first. All arithmetic is modulo 2^64.
 */
#ifndef RVSIM_JIT_COUNTS_H
#define RVSIM_JIT_COUNTS_H

struct site { /* an access in a trace: its second window */
    uint32_t base, units;
    uint8_t *host;
    uint64_t n;          /* accesses in it that no interval knows of yet */
    uint64_t hits;       /* those before */
    uint64_t since;      /* executions of the block when this was compiled */
    int32_t interval;    /* -1 without one */
    uint32_t index;      /* of the instruction in its block */
    struct member *member;
    struct insn *in;
    uint8_t size, is_store;
    uint64_t when;       /* with a data cache: with the budget behind the trace LINE_TIME, but for h->granted */
};

struct member { /* a block of a trace */
    struct block *block;
    struct trace *trace;
    uint32_t target;     /* address that its branch or jump goes to */
    uint64_t refund;     /* charge of the blocks behind it, which the entry took too */
    uint64_t ended;      /* passes that ended within this block, or at its end without a taken branch */
    uint64_t ended_taken; /* passes that ended with its taken branch or jump */
    uint64_t skipped;    /* passes that left a conditional block out */
    struct block *loop;  /* a counted loop on the way to the next member, which its function does and counts; NULL without one */
    uint8_t path_taken;  /* the path goes on along its taken branch */
    uint8_t conditional; /* the block is executed or not without a jump; the one before it ends in the branch */
    uint8_t *jump[2], *way[2]; /* jumps out, next and taken, NULL without one; where they lead while there is no compiled successor */
};

enum { TRACE_BLOCKS = 16, TRACE_INSTRUCTIONS = 192 };

struct trace {
    struct block *block; /* the first */
    uint64_t charge;     /* of all blocks */
    uint64_t loops;      /* passes that went from the last block back to the first */
    struct member *member;
    struct site *site;
    int members, sites, is_loop;
    uint8_t *chain;      /* where others jump to */
    uint8_t *code, *end; /* its code in line */
    uint8_t *cold, *cold_end; /* its code out of line */
};

struct pages { uint8_t *from, *to; };

struct jit {
    struct hart *hart;
    uint8_t *memory;             /* one mapping: code, code out of line, data */
    size_t size, page;
    struct pages hot_pages, cold_pages, jump_pages; /* that are writable */
    int refused;                 /* the host would not change what is writable */
    uint8_t *at, *limit, *cold, *cold_limit, *data, *data_limit; /* their first free bytes and ends */
    uint64_t *exhausted;
    int (*enter)(struct hart *, const void *);
    uint8_t *leave, *leave_stored, *uncompiled;
    uint8_t *load, *store, *call, *look, *fetch;
    uint8_t host_of[32];         /* host register of a guest register, 0 for none (rax is never one) */
    uint8_t guest[10];
    int pins;
    struct trace **list;
    int count, room;
    int full;
    int stale;                   /* compiled code has counted since the last fold */
    int again;                   /* all traces are to be chosen anew */
    uint64_t looks, next_choice; /* for blocks to compile, and when paths and pinned registers are chosen again */
    uint64_t nanoseconds;        /* spent compiling */
    uint64_t rebuilds;           /* times all was given up to begin anew */
};

static void fold_trace(struct trace *t)
{
    uint64_t beyond = t->loops; /* passes that went on behind the block */
    t->loops = 0;
    for (int k = t->members - 1; k >= 0; k--) {
        struct member *m = &t->member[k];
        uint64_t entered = beyond + m->ended + m->ended_taken - m->skipped;
        m->block->count += entered;
        m->block->traced += entered;
        if (m->path_taken) m->block->taken += beyond;
        m->block->taken += m->ended_taken;
        if (m->conditional) t->member[k - 1].block->taken += m->skipped;
        beyond += m->ended + m->ended_taken;
        m->ended = m->ended_taken = m->skipped = 0;
    }
}

/* Bring the counts of all blocks up to date. */
static void jit_fold(struct jit *j)
{
    if (!j || !j->stale) return;
    for (int i = 0; i < j->count; i++) fold_trace(j->list[i]);
    j->stale = 0;
}
#endif
