/* Exact cycles: the core's pipeline (rvsim/timing/exact) is shown what retires.
 *
 * The loop with caches stops at each way into a block and at each access to memory (hart.h). Here that notes addresses and operands, and
 * tells the pipeline a block's instructions as soon as it is known which instruction retires behind them: as the next block is entered,
 * or when the loop is left.
 */
#ifndef RVSIM_TIMED_H
#define RVSIM_TIMED_H
#include "../timing/exact/pipeline.h"

enum { TIMED_AT = 1024, TIMED_RECORDS = 1024 };

struct timed_record {        /* what went through the pipeline, for its view (Timed.RECORD in timed.py) */
    uint64_t before;         /* cycle of the retirement before it */
    uint32_t cycles, waited; /* from there to its own; in front of these, cycles that all stood still: for a coprocessor, or asleep */
    uint32_t pc, word;
    int32_t stage[TIMING_STAGES], end;
    uint32_t lost[CAUSES];
    uint8_t size, retires;
    uint8_t waits;           /* of an added instruction: the stage in which it waited; 0: it is none */
    uint8_t spare[5];
};

enum { VIEW_ALL, VIEW_CYCLE, VIEW_STORE, VIEW_PC };
struct timed_view {
    int from;                /* VIEW_*: what begins it, while it has not begun */
    int begun, cut;          /* cut: there was more than `left` allowed */
    uint64_t cycle;          /* of VIEW_CYCLE */
    uint32_t at, until;      /* of VIEW_STORE, the store that begins and the one that ends it, until the next; of VIEW_PC */
    uint64_t left;           /* instructions that may still be noted */
    const long long *stalls; /* the hart's */
    long long stalled;       /* of these, seen */
    int32_t behind;          /* of the last report, relative to its retirement */
    uint32_t count;
    void (*drain)(struct hart *);
    struct timed_record record[TIMED_RECORDS];
};

struct timed {
    timing_pipeline *pipeline;
    struct timed_view *view; /* NULL: nobody looks */
    struct block *block;     /* that is being executed; NULL when all that retired has been told */
    uint32_t told;           /* its instructions that have been told */
    uint64_t taken;          /* its `taken` as it was entered */
    uint32_t accesses, operands;
    struct { uint32_t index, address; } access[2 * BLOCK_LIMIT];
    struct { uint32_t index, rs1, rs2; } operand[BLOCK_LIMIT];
    timing_report report;    /* of the instruction told last */
    void (*describe)(struct hart *, uint32_t pc, timing_op *); /* the instruction at any address */
    struct { uint32_t pc, known; timing_op op; } at[TIMED_AT]; /* those asked for, by their address */
};

/* The instruction at an address, of what is fetched and does not retire. */
static const timing_op *timed_at(void *of, uint32_t pc)
{
    struct hart *h = of;
    uint32_t n = (pc >> 1) % TIMED_AT;
    if (!h->timed->at[n].known || h->timed->at[n].pc != pc) {
        h->timed->describe(h, pc, &h->timed->at[n].op);
        h->timed->at[n].pc = pc;
        h->timed->at[n].known = 1;
    }
    return &h->timed->at[n].op;
}

/* Note an instruction for the view of the pipeline, as it retires or is trapped. */
static void timed_note(struct hart *h, const timing_op *op, const retired *r, uint32_t word, uint32_t cycles, int retires)
{
    struct timed *t = h->timed;
    struct timed_view *v = t->view;
    long long stalls = *v->stalls, waited = stalls - v->stalled;
    uint64_t now = t->pipeline->cycles + (uint64_t)stalls;
    int32_t fetched = v->behind;
    v->stalled = stalls;
    v->behind = t->report.behind - (int32_t)cycles;
    if (!v->begun) {
        v->begun = v->from == VIEW_ALL || (v->from == VIEW_CYCLE && now >= v->cycle) || (v->from == VIEW_PC && r->pc == v->at) ||
                   (v->from == VIEW_STORE && op->kind == K_STORE && r->address == v->at);
        if (!v->begun) return;
    }
    if (!v->left) {
        v->cut = 1, t->view = NULL, t->report.staged = 0;
        return;
    }
    v->left--;
    if (v->from == VIEW_STORE && op->kind == K_STORE && r->address == v->until) v->begun = 0;
    struct timed_record *n = &v->record[v->count++];
    n->before = now - cycles - (uint64_t)waited;
    n->cycles = cycles, n->waited = (uint32_t)waited;
    n->pc = r->pc, n->word = word;
    memcpy(n->stage, t->report.stage, sizeof n->stage);
    n->stage[0] = fetched;
    n->end = t->report.end;
    memcpy(n->lost, t->report.lost, sizeof n->lost);
    n->size = op->size, n->retires = (uint8_t)retires, n->waits = op->kind == K_CUSTOM ? (uint8_t)t->report.executes : 0;
    if (v->count == TIMED_RECORDS) v->drain(h);
}

/* Tell instructions up to, not including, one; `next_pc` retires behind the last of them. */
static void timed_tell(struct hart *h, uint32_t to, uint32_t next_pc, int next_size)
{
    struct timed *t = h->timed;
    struct block *b = t->block;
    uint32_t access = 0, operand = 0;
    if (!b) return;
    for (uint32_t i = t->told; i < to; i++) {
        int last = i + 1 == b->count_n;
        const timing_op *op = &b->ops[i];
        retired r = {.pc = b->pc + b->meta[i].offset};
        r.next_pc = i + 1 < to ? b->pc + b->meta[i + 1].offset : next_pc;
        r.next_size = i + 1 < to ? b->ops[i + 1].size : (uint8_t)next_size;
        r.taken = last && (op->kind == K_BRANCH ? b->taken != t->taken : op->kind == K_JAL || op->kind == K_JALR || op->kind == K_MRET);
        while (access < t->accesses && t->access[access].index < i) access++;
        if (access < t->accesses && t->access[access].index == i) r.address = t->access[access].address;
        while (operand < t->operands && t->operand[operand].index < i) operand++;
        if (operand < t->operands && t->operand[operand].index == i) r.rs1 = t->operand[operand].rs1, r.rs2 = t->operand[operand].rs2;
        uint32_t cycles = t->pipeline->step(t->pipeline, op, &r, &t->report);
        b->sites[i].cycles += cycles;
        if (__builtin_expect(t->view != NULL, 0)) timed_note(h, op, &r, b->meta[i].word, cycles, 1);
        for (int cause = 0; cause < CAUSES; cause++) b->lost[i * CAUSES + cause] += t->report.lost[cause];
    }
    if (to > t->told) t->told = to;
    if (to == b->count_n) t->block = NULL;
}

static void timed_data(struct hart *h, struct block *b, struct insn *in, uint32_t address, uint32_t size, int store)
{
    struct timed *t = h->timed;
    (void)size, (void)store;
    if (t->accesses == 2 * BLOCK_LIMIT) return;
    t->access[t->accesses].index = (uint32_t)(in - b->code);
    t->access[t->accesses++].address = address;
}

__attribute__((unused)) static void timed_operands(struct hart *h, struct block *b, struct insn *in, uint32_t rs1, uint32_t rs2)
{
    struct timed *t = h->timed;
    if (!t || t->operands == BLOCK_LIMIT) return;
    t->operand[t->operands].index = (uint32_t)(in - b->code);
    t->operand[t->operands].rs1 = rs1;
    t->operand[t->operands++].rs2 = rs2;
}

/* A block is entered: what it follows is known. */
static void timed_fetch(struct hart *h, struct block *b)
{
    struct timed *t = h->timed;
    if (t->block) timed_tell(h, t->block->count_n, b->pc, b->ops[0].size);
    t->block = b;
    t->told = t->accesses = t->operands = 0;
    t->taken = b->taken;
}

/* Code has changed. */
static void timed_forget(struct hart *h)
{
    if (h->timed) memset(h->timed->at, 0, sizeof h->timed->at);
}

static void timed_fence_i(struct hart *h, struct block *b, struct insn *in) { (void)h, (void)b, (void)in; }
#endif
