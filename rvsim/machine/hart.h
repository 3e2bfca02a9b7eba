/* The interpreter's inner loop: predecoded basic blocks, direct threading, chained blocks.
 *
 * What an instruction does comes from the generated interpreter.h; this file defines what the generated handlers stand on. Everything
 * that is not hot (building blocks, CSRs, memory windows, traps) is in _hart.pyx, reached through the function pointers of struct hart.
 */
#ifndef RVSIM_HART_H
#define RVSIM_HART_H
#include <stdint.h>
#include <string.h>
#include "cache.h"
#include "reuse.h"

struct decoded { /* what the generated decoder finds out */
    uint16_t handler, instruction;
    uint8_t size, r[4];
    uint32_t k[2];
};

struct insn { /* one predecoded instruction: 32 bytes, two in a cache line */
    const void *handler; /* address of its code */
    uint8_t r[4];        /* register numbers */
    uint32_t k[2];       /* immediates, targets, links: what the handler takes; of a load or store, k[1] is its window's aligned address */
    uint32_t units;      /* how many aligned units the window has */
    uint8_t *host;       /* host memory of the window; for divisions the histogram of operands */
};

struct meta { /* the cold half of an instruction */
    uint32_t word;
    uint16_t instruction; /* number in the elaborated ISA; NO_INSTRUCTION for an illegal word */
    uint16_t offset;      /* from the block's pc, bytes */
    uint16_t cost;        /* cycles when nothing stalls it */
    uint16_t handler : 15; /* what a template is found by; NO_HANDLER where only the interpreter will do */
    uint16_t frozen : 1;  /* compiled code holds the window: it does not move */
    int32_t interval;     /* address interval that the window counts for, -1 without one */
    uint64_t base;        /* executions already attributed to intervals */
    uint64_t misaligned;  /* split accesses */
};

struct hart;
struct block;
typedef int (*loop_function)(struct hart *, struct block *);

struct block {
    /* What entering and leaving it touches: one cache line. */
    const void *start;     /* where a way into the block goes: its first instruction's handler, or to compiled code */
    uint64_t charge;       /* what entering it takes from the budget: instructions << 32 | most cycles it may take */
    uint64_t count;        /* times entered */
    uint64_t taken;        /* times left by a taken branch or jump */
    struct block *next;    /* successor in line, once known */
    struct block *target;  /* successor when taken, once known and static */
    uint32_t pc, end;      /* address of the first instruction, and behind the last */
    const void *predicated; /* of one instruction that only computes: its handler under a condition */
    uint32_t count_n;      /* instructions */
    uint32_t cycles;       /* sum of their costs */
    uint64_t entered;      /* times entered by an indirect jump */
    uint64_t misaligned;   /* split accesses of all its instructions */
    uint64_t straddled, straddled_from; /* taken ways to a straddling target while it was the other kind; from which on it is this kind */
    struct meta *meta;
    uint64_t *exits;       /* times left before instruction i retired; NULL until it happens */
    struct block *hash_next;
    uint8_t straddles;     /* starts with a 32-bit instruction at an odd halfword */
    uint8_t target_straddles;
    uint8_t dead, listed;  /* listed: in the table of blocks (1) or of single instructions (2) */
    uint8_t divides;       /* holds a division: its cycles depend on operands */
    uint8_t rd;            /* of a single instruction in the commit log: the register it writes, 0 for none */
    uint8_t unwanted;      /* compiled code with it is to go */
    uint8_t wanted : 1;    /* it began a trace that has gone */
    uint8_t misforked : 2; /* how often it was left too often as a loop with two ways */
    uint8_t hwloop : 2;    /* HWLOOP_*: its last instruction may be that of a hardware loop's body */
    uint32_t traces;       /* how many hold it */
    struct trace *compiled; /* the one that it begins, NULL while the interpreter enters it */
    const void *chain;     /* where compiled code jumps to that goes on here */
    uint64_t traced;       /* of count, entries of compiled code */
    uint64_t seen;         /* the others when it was last compiled into a trace */
    loop_function loop;    /* does many iterations at once (loops.h), NULL without */
    uint64_t looped;       /* iterations it did, where that is counted */
    uint64_t loop_ask;     /* taken branches at which to ask for it next */
    uint32_t loop_skip, loop_skips; /* entries at which not to try it, and those after the next failure */
    const uint32_t *recent; /* with caches: equals `key` where the way in changes nothing in the instruction cache */
    uint32_t key;
    struct missed *sites;  /* count_n, NULL without caches and exact cycles */
    struct timing_op *ops; /* count_n, NULL without exact cycles */
    uint64_t *lost;        /* with them: of each instruction, cycles lost by each cause */
    uint64_t *elsewhere;   /* by instruction and region: accesses outside the home region; NULL until there are */
    void *allocation;      /* what to free */
    __attribute__((aligned(64))) struct insn code[]; /* count_n instructions and an end marker: where they are needs no load */
};

/* A hardware loop of an added set (rvsim/isa/ir.py, HardwareLoop): numbers of own registers. */
enum { HWLOOPS = 4, HWLOOP_KNOWN = 256 };
struct hwloop { uint32_t start, end, count, ahead; };

enum { EXIT_LOOKUP, EXIT_FUEL, EXIT_TRAP, EXIT_SYSTEM, EXIT_WAIT, EXIT_MODIFIED, EXIT_BREAK };
enum { EDGE_NONE, EDGE_NEXT, EDGE_TAKEN, EDGE_INDIRECT };
enum { BLOCK_LIMIT = 64 /* instructions in a block */, JUMP_CACHE = 4096, NO_INSTRUCTION = 0xffff, NO_HANDLER = 0x7fff };
/* Of the instructions at one address: what decides which way a run went, and what it cost (rvsim/timing/flow.py). */
struct flow_row {
    uint32_t pc, word;
    uint16_t instruction, size, following, spare; /* following: see timing_op */
    uint64_t executed, taken;
    uint64_t entered;      /* by an indirect jump */
    uint64_t misaligned;   /* accesses that were split */
};
/* Of an added instruction that ends a block, k[1]: whether it leaves to the machine, or at most jumps, or branches. */
enum { CUSTOM_LEAVES, CUSTOM_JUMPS, CUSTOM_BRANCHES };
/* What ends a block behind which a hardware loop may go round: an end marker that sees to it, or an instruction that goes on in line by itself. */
enum { HWLOOP_NONE, HWLOOP_MARKED, HWLOOP_INLINE };
/* Histogram of a division: [dividend negative][0: divisor 0; 1 + leading zeros of a divisor >= 0; 34 + those of ~divisor]. */
enum { DIVIDE_BUCKETS = 2 * 67 };

struct hart {
    uint32_t x[32];
    uint32_t pc;
    uint64_t fuel;         /* the budget: instructions still allowed << 32 | cycles that may pass before the machine must look */
    struct block *from;    /* the block that was left */
    uint32_t edge, index;  /* how, and before which instruction */
    uint32_t irq, cause, tval;
    uint32_t reg_RESERVATION; /* registers of the description other than X and PC: reg_NAME */
    struct block *jump[JUMP_CACHE];
    int (*load)(struct hart *, struct block *, struct insn *, uint32_t address, int size, uint32_t *value);
    int (*store)(struct hart *, struct block *, struct insn *, uint32_t address, int size, uint32_t value);
    int (*csr)(struct hart *, struct block *, struct insn *, uint32_t number, int write, uint32_t *value);
    int (*custom)(struct hart *, struct block *, struct insn *);
    int (*plain)(struct hart *, struct block *, struct insn *, uint32_t address, int size, int store, uint32_t *value);
    int (*probe)(struct hart *, uint32_t address);
    uint32_t (*leave)(struct hart *);
    void *self;
    struct jit *jit;       /* compiled code, NULL without */
    struct routine **routines; /* of words of instructions added at run time, by number */
    uint64_t *own;         /* registers of added sets */
    struct hwloop hwloop[HWLOOPS];
    uint32_t hwloops, hwloop_mask; /* mask: of an address that they go on at */
    uint32_t hwloop_last[HWLOOP_KNOWN]; /* last instructions of their bodies that blocks end with, by address; 1: none */
    int (*hwloop_new)(struct hart *, uint32_t last); /* a new one: whether blocks have died */
    uint64_t temporaries[64]; /* of a routine */
    uint32_t target;       /* where its jump leads */
    struct block *native_block; /* that compiled code left, and at which instruction */
    struct insn *native_insn;
    struct site *native_site; /* the access of compiled code that is served, NULL without one */
    uint64_t native_refund; /* of the budget when it does not go on */
    uint32_t native_value; /* of a load outside its windows */
    void (*credit)(struct hart *, struct site *); /* tell the interval of a site's window what it counted */
    void (*adopt)(struct hart *, struct site *); /* make that window the instruction's own if it is the one hit more */
    /* Caches, NULL without. */
    struct cache *dcache, *icache;
    struct reuse *data_reuse, *fetch_reuse; /* in their place */
    struct recent *data_recent; /* where data accesses look */
    uint32_t data_shift;   /* of an address to the number of its line */
    uint32_t data_mask;    /* of that number: all ones, or 0 where data accesses concern nobody */
    /* Instructions allowed so far << 32: what is left of them tells the time. Of few lines the times change with what is allowed, and this is 0. */
    uint64_t granted;
    struct recent data_lines, fetch_lines; /* tables of the caches */
    uint64_t split[3];     /* accesses of two lines: fetches, loads, stores */
    void (*data)(struct hart *, struct block *, struct insn *, uint32_t address, uint32_t size, int store);
    void (*fetch)(struct hart *, struct block *);
    void (*fence_i)(struct hart *, struct block *, struct insn *);
    struct timed *timed;   /* exact cycles, in their place; NULL without */
};

#define DECODE_BODY
#include "interpreter.h"
#undef DECODE_BODY

/* Handlers that belong to no instruction of the description. */
enum { HANDLER_END = HANDLER_COUNT, HANDLER_ILLEGAL, HANDLER_FETCH_FAULT, HANDLER_CUSTOM, HANDLER_CUSTOM_END, HANDLER_ROUTINE, HANDLER_ROUTINE_JUMP, HANDLER_BREAK, HANDLER_NATIVE, HANDLER_LOOP, HANDLER_HWLOOP, HANDLERS_ALL };
static const void *handler_address[HANDLERS_ALL];
/* The interpreter with caches is a file of its own, hart_cached.c, so that both are compiled at once. */
#define ELSEWHERE __attribute__((visibility("hidden")))
extern ELSEWHERE const void *cached_handler_address[HANDLERS_ALL];
/* Handlers of chains, of branches as ones over an instruction, and of instructions under a condition; those by handler, NULL where there is none. */
struct fusion { const void *chain[CHAIN_COUNT], *over[HANDLER_COUNT], *predicated[HANDLER_COUNT]; };
#ifndef HART_CACHED
static struct fusion fused_address;
#endif
extern ELSEWHERE struct fusion cached_fused_address;
ELSEWHERE int hart_run_cached(struct hart *, struct block *);
/* Handlers in a row that have one for all, by the first of them; a result is handed on to a later one's register slot. */
struct chain {
    uint8_t length, forwards;
    uint16_t handlers[CHAIN_LONGEST];
    struct { uint8_t from, to, slot; } forward[CHAIN_FORWARDS];
};
static const struct chain chains[CHAIN_COUNT] = {CHAINS};
static const uint16_t chain_starts[FUSIBLE_COUNT + 1] = {CHAIN_STARTS};
static const uint16_t handler_over[HANDLER_COUNT] = {HANDLER_OVER}; /* for `fuse`: the number of a branch as one over an instruction */
static const int8_t handler_writes[FUSIBLE_COUNT] = {HANDLER_WRITES}; /* the register slot a handler writes, -1 without one */
static const uint8_t handler_ends[HANDLER_COUNT] = {HANDLER_ENDS};

/* Whether a chain does the instructions from here on, of which there are `room`. */
static inline int chain_fits(const struct chain *c, const struct insn *code, const int *which, int room)
{
    if (c->length > room) return 0;
    for (int i = 1; i < c->length; i++)
        if (which[i] != c->handlers[i]) return 0;
    for (int n = 0; n < c->forwards; n++) {
        int from = c->forward[n].from, to = c->forward[n].to;
        uint8_t rd = code[from].r[handler_writes[which[from]]];
        if (code[to].r[c->forward[n].slot] != rd) return 0;
        for (int i = from + 1; i < to; i++)
            if (handler_writes[which[i]] >= 0 && code[i].r[handler_writes[which[i]]] == rd) return 0;
    }
    return 1;
}

/* Let one handler do several instructions where there is one, with the fewest dispatches; traps still tell them apart. */
static void fuse(struct insn *code, const int *which, int n, const struct fusion *address)
{
    int least[BLOCK_LIMIT + 1], best[BLOCK_LIMIT];
    least[n] = 0;
    for (int i = n - 1; i >= 0; i--) {
        least[i] = 1 + least[i + 1];
        best[i] = -1;
        if (which[i] < 0) continue;
        for (int c = chain_starts[which[i]]; c < chain_starts[which[i] + 1]; c++)
            if (1 + least[i + chains[c].length > n ? n : i + chains[c].length] < least[i] && chain_fits(&chains[c], code + i, which + i, n - i)) {
                least[i] = 1 + least[i + chains[c].length];
                best[i] = c;
            }
    }
    for (int i = 0; i < n; i += best[i] < 0 ? 1 : chains[best[i]].length)
        if (best[i] >= 0) code[i].handler = address->chain[best[i]];
}

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline int leading_zeros(uint32_t value) { return value ? __builtin_clz(value) : 32; }

static inline void record_divide(struct insn *in, uint32_t dividend, uint32_t divisor)
{
    int bucket = divisor == 0 ? 0 : divisor >> 31 ? 34 + leading_zeros(~divisor) : 1 + leading_zeros(divisor);
    ((uint64_t *)in->host)[(dividend >> 31) * 67 + bucket]++;
}

/* One test for "inside the window" and "aligned": a rotated distance with low bits set is beyond any number of units. */
#define DISTANCE_8(d) (d)
#define DISTANCE_16(d) (((d) >> 1) | ((d) << 31))
#define DISTANCE_32(d) (((d) >> 2) | ((d) << 30))

#define LOAD(bits, address, value)                                                              \
    do {                                                                                        \
        uint32_t a_ = (uint32_t)(address), d_ = a_ - in->k[1];                                   \
        if (UNLIKELY(DISTANCE_##bits(d_) >= in->units)) {                                       \
            uint32_t v_ = 0;                                                                    \
            h->fuel = fuel;                                                                     \
            if (h->load(h, b, in, a_, bits / 8, &v_)) goto trap;                                \
            (value) = (uint##bits##_t)v_;                                                       \
        } else {                                                                                \
            CACHED_DATA(a_, bits / 8, 0);                                                       \
            memcpy(&(value), in->host + d_, bits / 8);                                          \
        }                                                                                       \
    } while (0)
#define STORE(bits, address, value)                                                             \
    do {                                                                                        \
        uint32_t a_ = (uint32_t)(address), d_ = a_ - in->k[1];                                   \
        uint##bits##_t v_ = (value);                                                            \
        if (UNLIKELY(DISTANCE_##bits(d_) >= in->units)) {                                       \
            h->fuel = fuel;                                                                     \
            int r_ = h->store(h, b, in, a_, bits / 8, v_);                                      \
            if (r_ == 1) goto trap;                                                             \
            if (r_) goto modified;                                                              \
        } else {                                                                                \
            CACHED_DATA(a_, bits / 8, 1);                                                       \
            memcpy(in->host + d_, &v_, bits / 8);                                               \
        }                                                                                       \
    } while (0)
#define LOAD8(a, v) LOAD(8, a, v)
#define LOAD16(a, v) LOAD(16, a, v)
#define LOAD32(a, v) LOAD(32, a, v)
#define STORE8(a, v) STORE(8, a, v)
#define STORE16(a, v) STORE(16, a, v)
#define STORE32(a, v) STORE(32, a, v)
#define CSR_READ(number, value) do { h->fuel = fuel; if (h->csr(h, b, in, number, 0, &(value))) goto trap; } while (0)
#define CSR_WRITE(number, value)                                                                \
    do {                                                                                        \
        uint32_t v_ = (value);                                                                  \
        h->fuel = fuel;                                                                         \
        if (h->csr(h, b, in, number, 1, &v_)) goto trap;                                        \
        fuel = h->fuel; /* a write that concerns interrupts leaves no cycles: the machine looks before the next block */ \
    } while (0)
#define RAISE(irq_, cause_) do { h->irq = (irq_); h->cause = (cause_); goto trap; } while (0)
#define CALL_set_tval(value) (h->tval = (uint32_t)(value))
#define CALL_leave(level) do { h->fuel = fuel; h->pc = h->leave(h); goto system; } while (0)
#define CALL_wait(flag) do { h->pc = b->end; h->fuel = fuel; h->from = b; return EXIT_WAIT; } while (0)
/* Instructions with more than one access (AMOs) have no window: each access goes out and is counted there. */
#define PLAIN_LOAD(bits, address, value)                                                        \
    do {                                                                                        \
        uint32_t v_ = 0;                                                                        \
        h->fuel = fuel;                                                                         \
        if (h->plain(h, b, in, (uint32_t)(address), bits / 8, 0, &v_)) goto trap;               \
        (value) = (uint##bits##_t)v_;                                                           \
    } while (0)
#define PLAIN_STORE(bits, address, value)                                                       \
    do {                                                                                        \
        uint32_t v_ = (uint##bits##_t)(value);                                                  \
        h->fuel = fuel;                                                                         \
        int r_ = h->plain(h, b, in, (uint32_t)(address), bits / 8, 1, &v_);                     \
        if (r_ == 1) goto trap;                                                                 \
        if (r_) goto modified;                                                                  \
    } while (0)
/* Before an AMO reads: it faults as a store where it could not write. */
#define CALL_probe_store(address)                                                               \
    do { h->fuel = fuel; if (h->probe(h, (uint32_t)(address))) goto trap; } while (0)
#define CALL_fence_i() CACHED_FENCE_I /* stores to code invalidate blocks at once; what is left to do is for caches */
#define LEAVE(handler, label) goto leave_##handler##_##label
#define LEAVE_LABEL(handler, label) leave_##handler##_##label:
#define SETPC(value) (taken = 1, npc = (value))

#define DISPATCH goto *in->handler
#define NEXT do { in++; DISPATCH; } while (0)
/* Both halves of the budget are below 2^31: one that runs out shows in its top bit, and giving the charge back restores both. */
#define EXHAUSTED 0x8000000080000000ull
#define SLACK 0xffffffffull /* the half of the cycles */
#define ENTER(block_)                                                                           \
    do {                                                                                        \
        b = (block_);                                                                           \
        if (UNLIKELY((fuel -= b->charge) & EXHAUSTED)) goto out_of_fuel;                        \
        b->count++;                                                                             \
        CACHED_ENTRY;                                                                           \
        in = b->code;                                                                           \
        goto *b->start;                                                                         \
    } while (0)
#define LOOKUP(pc_, edge_) do { h->pc = (pc_); h->edge = (edge_); goto lookup; } while (0)
enum { MOST_SKIPPED = 255 };
#define FALL_THROUGH do { if (b->next) ENTER(b->next); LOOKUP(b->end, EDGE_NEXT); } while (0)
#define BRANCH                                                                                  \
    do {                                                                                        \
        if (taken) {                                                                            \
            b->taken++;                                                                         \
            if (b->target) ENTER(b->target);                                                    \
            LOOKUP(npc, EDGE_TAKEN);                                                            \
        }                                                                                       \
        FALL_THROUGH;                                                                           \
    } while (0)
/* A branch over a block of one instruction that only computes: both ways meet behind it, so neither is a branch here. What is
 * counted and charged is what the two or three blocks would have. */
#define BRANCH_OVER                                                                             \
    do {                                                                                        \
        struct block *over_ = b->next, *to_ = b->target;                                        \
        __asm__("" : "+r"(taken)); /* a number, whatever the compiler knows of it */            \
        if (over_ && to_ && over_->predicated && over_->next == to_ && FETCHED(over_) && FETCHED(to_)) { \
            uint64_t left_ = fuel - to_->charge - (over_->charge & ((uint64_t)taken - 1));      \
            if (!(left_ & EXHAUSTED)) {                                                         \
                fuel = left_;                                                                   \
                b->taken += taken;                                                              \
                over_->count += 1 - taken;                                                      \
                to_->count++;                                                                   \
                keep = 0 - taken;                                                               \
                in = over_->code;                                                               \
                b = to_;                                                                        \
                goto *over_->predicated;                                                        \
            }                                                                                   \
        }                                                                                       \
        BRANCH;                                                                                 \
    } while (0)
#define AFTER_OVER do { in = b->code; goto *b->start; } while (0)
#define JUMP                                                                                    \
    do {                                                                                        \
        if (taken) {                                                                            \
            struct block *to_ = h->jump[(npc >> 1) & (JUMP_CACHE - 1)];                         \
            b->taken++;                                                                         \
            if (to_->pc == npc) { to_->entered++; ENTER(to_); }                                 \
            LOOKUP(npc, EDGE_INDIRECT);                                                         \
        }                                                                                       \
        FALL_THROUGH;                                                                           \
    } while (0)

/* An added branch: its target may be in a register. */
#define BRANCH_TO                                                                               \
    do {                                                                                        \
        if (taken) {                                                                            \
            b->taken++;                                                                         \
            if (b->target && b->target->pc == npc) ENTER(b->target);                            \
            LOOKUP(npc, EDGE_TAKEN);                                                            \
        }                                                                                       \
        FALL_THROUGH;                                                                           \
    } while (0)

/* When an instruction of a block uses a line, given the budget behind the block: time runs down, from block to block by at least 2^32. */
#define LINE_ORDER(b, in) ((b)->charge - (uint64_t)((uint8_t *)(in) - (uint8_t *)(b)->code))
#define LINE_TIME(fuel, b, in) ((fuel) + LINE_ORDER(b, in) - h->granted)

/* Both loops take them at once: the line that a data access is in, the line that a block is in, and fence.i. */
static void cached_data(struct hart *h, struct block *b, struct insn *in, uint32_t address, uint32_t size, int store)
{
    struct cache *c = h->dcache;
    struct missed *site = &b->sites[in - b->code];
    if (!c) return;
    uint32_t line = address >> c->line_shift, last = (address + size - 1) >> c->line_shift;
    if (store && line == last && c->timed && cache_dirtied(c, line, LINE_TIME(h->fuel, b, in))) return;
    for (;;) {
        int missed;
        site->cycles += cache_access(c, line, store, c->timed ? LINE_TIME(h->fuel, b, in) : c->clock--, &missed);
        site->misses[1 + store] += (uint64_t)missed;
        if (line == last) return;
        h->split[1 + store]++;
        line = last;
    }
}

static void cached_fetch(struct hart *h, struct block *b)
{
    struct cache *c = h->icache;
    int missed, splits = ((b->end - 1) ^ b->pc) >> c->line_shift != 0;
    b->sites[0].cycles += cache_access(c, b->pc >> c->line_shift, 0, c->clock--, &missed);
    b->sites[0].misses[0] += (uint64_t)missed;
    if (!splits) return;
    h->split[0]++;
    b->sites[0].cycles += cache_access(c, (b->end - 1) >> c->line_shift, 0, c->clock--, &missed);
    b->sites[0].misses[0] += (uint64_t)missed;
}

static void cached_fence_i(struct hart *h, struct block *b, struct insn *in)
{
    if (h->dcache) b->sites[in - b->code].cycles += cache_clean(h->dcache);
    if (h->icache) cache_invalidate(h->icache);
    h->fuel &= ~SLACK; /* more cycles than the block was charged: the machine looks before the next */
}

/* The same for stack distances, which take no time. */
static void reuse_data(struct hart *h, struct block *b, struct insn *in, uint32_t address, uint32_t size, int store)
{
    struct reuse *r = h->data_reuse;
    (void)b, (void)in;
    if (!r) return;
    uint32_t line = address >> r->line_shift, last = (address + size - 1) >> r->line_shift;
    reuse_access(r, line);
    if (line == last) return;
    h->split[1 + store]++;
    reuse_access(r, last);
}

static void reuse_fetch(struct hart *h, struct block *b)
{
    struct reuse *r = h->fetch_reuse;
    uint32_t line = b->pc >> r->line_shift, last = (b->end - 1) >> r->line_shift;
    reuse_access(r, line);
    if (line == last) return;
    h->split[0]++;
    reuse_access(r, last);
}

static void reuse_fence_i(struct hart *h, struct block *b, struct insn *in)
{
    (void)b, (void)in;
    if (h->fetch_reuse) reuse_forget(h->fetch_reuse);
}

/* Where the run goes on behind an instruction that goes on in line: at the start of a hardware loop of which it is the last one. */
static uint32_t hwloop_next(struct hart *h, uint32_t last, uint32_t behind)
{
    for (uint32_t n = 0; n < h->hwloops; n++) {
        const struct hwloop *l = &h->hwloop[n];
        if (h->own[l->count] && (uint32_t)h->own[l->end] == last + l->ahead && h->own[l->count]-- != 1) return (uint32_t)h->own[l->start] & h->hwloop_mask;
    }
    return behind;
}

/* An own register with a loop's end has been written: 2 when the block is to be left behind the instruction. */
static int hwloop_end(struct hart *h, uint32_t value, uint32_t number)
{
    int modified = 0;
    for (uint32_t n = 0; n < h->hwloops; n++) {
        uint32_t last = value - h->hwloop[n].ahead;
        if (h->hwloop[n].end == number && h->hwloop_last[(last >> 1) % HWLOOP_KNOWN] != last && h->hwloop_new(h, last)) modified = 2;
    }
    return modified;
}

#include "timed.h"
#include "routine.h"
#define DIVIDES(rs1, rs2) record_divide(in, rs1, rs2)
#define MULTIPLIES(rs1, rs2) ((void)0)
#define FUNCTIONS
#include "interpreter.h"
#undef FUNCTIONS
#include "jit.h"
#include "loops.h"

/* The interpreter twice: without caches, and with what they need at each access and at each way into a block. */
#ifndef HART_CACHED
static int hart_run(struct hart *h, struct block *b);
#define HART_RUN hart_run
#define HANDLER_ADDRESS handler_address
#define FUSED_ADDRESS fused_address
#define CACHED_DATA(address, bytes, is_store) ((void)0)
#define CACHED_FETCH ((void)0)
#define FETCHED(block) 1
#define CACHED_ENTRY ((void)0)
#define CACHED_FENCE_I ((void)0)
#include "hart_run.h"
#else
#undef DIVIDES
#undef MULTIPLIES
#define HART_RUN hart_run_cached
#define HANDLER_ADDRESS cached_handler_address
#define FUSED_ADDRESS cached_fused_address
#define CACHED_DATA(address, bytes, is_store)                                                   \
    do {                                                                                        \
        struct recent *r_ = h->data_recent;                                                     \
        uint32_t line_ = (address) >> h->data_shift & h->data_mask, slot_ = line_ % RECENT;     \
        if (UNLIKELY(r_->lines[is_store][slot_] != line_)) {                                    \
            h->fuel = fuel;                                                                     \
            h->data(h, b, in, address, bytes, is_store);                                        \
        } else                                                                                  \
            r_->used[slot_] = LINE_TIME(fuel, b, in);                                           \
    } while (0)
#define DIVIDES(rs1, rs2) do { record_divide(in, rs1, rs2); timed_operands(h, b, in, rs1, rs2); } while (0)
#define MULTIPLIES(rs1, rs2) timed_operands(h, b, in, rs1, rs2)
#define CACHED_FETCH do { if (UNLIKELY(*b->recent != b->key)) h->fetch(h, b); } while (0)
#define FETCHED(block) (*(block)->recent == (block)->key)
/* Compiled code fetches its blocks itself. */
#define CACHED_ENTRY do { if (UNLIKELY(*b->recent != b->key) && b->start != cached_handler_address[HANDLER_NATIVE]) h->fetch(h, b); } while (0)
#define CACHED_FENCE_I do { h->fuel = fuel; h->fence_i(h, b, in); fuel = h->fuel; } while (0)
#include "hart_run.h"
#endif
#endif
