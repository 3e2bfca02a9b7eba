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

enum { TRACE_BLOCKS = 16, TRACE_INSTRUCTIONS = 192, FORK_TRIALS = 3 };

struct fork { /* a trace that is a loop with two ways (jit_fork.h) */
    uint64_t decided[4]; /* passes, by 1 for the way of the taken branch, plus 2 where `end` has decided and not the head */
    uint64_t charge[2];  /* from one decision to the next */
    uint64_t passes, left; /* all so far, and those that were left to other code */
    struct member *end;  /* its branch is the head's once more; NULL without */
    uint8_t inverse;     /* taken where that is not */
    uint32_t written[2], read_by[2]; /* registers written in each way, and those that its loads' addresses come from */
    uint8_t way[TRACE_BLOCKS]; /* of each member but the head */
};

struct trace {
    struct block *block; /* the first */
    uint64_t charge;     /* of all blocks */
    uint64_t loops;      /* passes that went from the last block back to the first */
    struct member *member;
    struct site *site;
    struct fork *fork;   /* NULL for a path */
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

static void fold_fork(struct trace *t)
{
    struct fork *f = t->fork;
    struct member *head = t->member, *end = f->end;
    uint64_t passes[2] = {f->decided[0] + f->decided[2], f->decided[1] + f->decided[3]};
    uint64_t left = head->ended + head->ended_taken, entered = f->decided[0] + f->decided[1] + left;
    head->block->count += entered;
    head->block->traced += entered;
    head->block->taken += f->decided[1] + head->ended_taken;
    if (end) { /* each time it was entered is a pass of its way */
        end->block->taken += f->decided[2 + !f->inverse] + end->ended_taken;
        left += end->ended + end->ended_taken;
        end->ended = end->ended_taken = 0;
    }
    for (int k = 1; k < t->members; k++) {
        struct block *b = t->member[k].block;
        b->count += passes[f->way[k]];
        b->traced += passes[f->way[k]];
        if (t->member[k].path_taken) b->taken += passes[f->way[k]];
    }
    f->passes += passes[0] + passes[1];
    f->left += left;
    head->ended = head->ended_taken = 0;
    memset(f->decided, 0, sizeof f->decided);
}

static void fold_trace(struct trace *t)
{
    if (t->fork) { fold_fork(t); return; }
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
