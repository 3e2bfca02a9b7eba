/* Exact timing of VexRiscv as CFU-Playground generates it (google/CFU-Playground @ 7f8ec414, soc/vexriscv/VexRiscv_Custom.v): RV32IM, five
 * stages, instruction cache 2 KiB and data cache 4 KiB (direct mapped, lines of 32 bytes), two Wishbone ports, static prediction.
 *
 * The pipeline is decode D, execute E, memory M, writeback W, behind a fetch of two steps: P gives the address to the cache's
 * memory, F has its output. All of it moves in lockstep: a stage that halts freezes every stage before it, bubbles included
 * (`isStuck` chains in `arbitration`, and iBusRsp.stages_*.input_ready = !decode stuck). So the times of an instruction follow from
 * those of the three before it. Times below are cycles in which an instruction is in a stage for the last time (it `leaves` it).
 *
 * Mechanisms (names of VexRiscv_Custom.v):
 *  - Bypass from every stage, but a load's and a product's value comes in W, a shift's, quotient's and CSR's in M
 *    (BYPASSABLE_EXECUTE_STAGE, BYPASSABLE_MEMORY_STAGE): the user waits in D (HazardSimplePlugin). Not in D: nothing waits elsewhere.
 *  - Prediction in D: jal and backward branches jump from there (predictionJumpInterface); what is wrong, and jalr, from M
 *    (BranchPlugin_jumpInterface). The two instructions fetched meanwhile can miss the cache, and can hold the fetch by a hazard.
 *  - Instruction cache: a miss is found in D, at once, also where D is stuck; the line is filled while P waits, then fetched again.
 *    A fill begun for a path not taken is finished all the same.
 *  - Data cache: looked up in E and M, answered in W. A load that misses (DataCache `loader`) or follows a store to the same bytes within
 *    two cycles (`dataColisions`) is thrown away with all behind it and fetched again (`redo`). Stores are written through, by a queue
 *    of two commands (s2mPipe, m2sPipe) which line reads share.
 *  - The divider halts M, a CSR instruction halts E until M and W are empty (blockedBySideEffects). */
#ifndef RVSIM_VEXRISCV_H
#define RVSIM_VEXRISCV_H
#include "operation.h"

typedef struct {
    uint8_t divide;      /* further cycles in M: div_counter runs 0..0x20, div_done in the cycle after: 33 (measured 34 a division) */
    uint8_t line_words;  /* beats of a line: 8 (CTI burst, one acknowledge each) */
    uint8_t fill_end;    /* from the last beat of a line to the first cycle in which P or E may go on: response register 1, tag written
                            at its end, loader's valid falls: 2 (lineLoader_valid, loader_valid) */
    uint8_t trap;        /* from M to the handler's P: W raises hadException, its cycle jumps but fetcherHalt holds P: 3 */
    uint8_t flush;       /* fence.i in D to P going on: flushPending 1, counter of 64 lines from 2, its delayed copy 66: 67 (measured: two
                            fence.i 81 = 67 + 2 + a miss of 12) */
} vexriscv_params;

enum { VEX_LINE = 5, VEX_ILINES = 64, VEX_DLINES = 128 };

typedef struct { uint32_t word; uint8_t bytes, hit; } vexriscv_store;

typedef struct {                  /* what depends on addresses; zero it at reset */
    uint32_t itag[VEX_ILINES];    /* line number + 1, 0 for an empty line */
    uint32_t dtag[VEX_DLINES];
    vexriscv_store stores[2];     /* of the last and the last but one instruction; hit = 0 for none */
    int32_t acknowledge;          /* last ACK of the data bus, relative to W of the last instruction (a measure, no input) */
    uint32_t inputs;              /* hash of hits, misses and collisions of the last step: what it read of this struct */
} vexriscv_caches;

typedef struct { int16_t ready; uint8_t rd; uint8_t zero; } vexriscv_producer; /* D of a user of rd >= ready */

typedef struct {                  /* times relative to W of the last instruction; 0 is that cycle */
    int16_t decode;               /* first cycle of the next instruction in D */
    int16_t e1, m1;               /* the last instruction leaves E, M */
    int16_t w2;                   /* the last but one leaves W */
    int16_t bus_start, bus_end;   /* last command of the data bus: first cycle of STB, cycle of the last ACK */
    int16_t fetch_free;           /* P goes on after a fence.i */
    vexriscv_producer producer[2];/* the last two instructions */
    uint8_t flush;                /* 1: the last instruction was a fence.i: the next is fetched already, the cache is empty after it */
    uint8_t cause;                /* why `decode` is late (enum timing_cause) */
} vexriscv_state;

enum { VEX_LONG_AGO = -64 };
static const vexriscv_state VEXRISCV_RESET = {3, -2, -1, -1, VEX_LONG_AGO, VEX_LONG_AGO, VEX_LONG_AGO, {{VEX_LONG_AGO, 0, 0}, {VEX_LONG_AGO, 0, 0}}, 0, C_OTHER};

static inline void vexriscv_reset(vexriscv_state *s, const vexriscv_params *p, const timing_memory *m, uint32_t entry)
{
    (void)p, (void)m, (void)entry;
    *s = VEXRISCV_RESET;
}

static inline int vexriscv_sound(const vexriscv_state *s)
{
    const int16_t times[] = {s->decode, s->e1, s->m1, s->w2, s->bus_start, s->bus_end, s->fetch_free, s->producer[0].ready, s->producer[1].ready};
    for (unsigned i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i] < VEX_LONG_AGO || times[i] > 1 << 14) return 0;
    return s->cause < CAUSES;
}

/* One instruction in work: what a step hands to its parts. */
typedef struct {
    vexriscv_state *s;
    vexriscv_caches *c;
    const vexriscv_params *p;
    const timing_memory *m;
    int d, dl, el, ml, w, wl;     /* enters D; leaves D, E, M; enters, leaves W */
} vexriscv_work;

/* First cycle >= c in which D, or the stage of the instruction in work, is not frozen by an older one; c lies after D of the last
 * instruction. That is where the last one itself moves: it is frozen by all that are older. */
static inline int vexriscv_unfrozen(const vexriscv_state *s, int c)
{
    return c >= 0 ? c : c <= s->e1 ? s->e1 : c <= s->m1 ? s->m1 : 0;
}

static inline void vexriscv_input(vexriscv_caches *c, unsigned bit) { c->inputs = c->inputs * 4 + 1 + bit; }

/* Instruction in D at `pc` finds its line (0), or its miss begins the line's fill. */
static inline int vexriscv_fetch_misses(vexriscv_work *k, uint32_t pc)
{
    uint32_t line = pc >> VEX_LINE, *tag = &k->c->itag[line % VEX_ILINES];
    int miss = *tag != line + 1;
    vexriscv_input(k->c, (unsigned)miss);
    if (miss && !k->s->flush) *tag = line + 1; /* a fill during the flush writes no tag (flushCounter addresses the tags) */
    return miss;
}

/* First cycle of P after the fill for a miss in D in cycle `d`. */
static inline int vexriscv_filled(const vexriscv_work *k, int d, uint32_t pc)
{
    return d + k->p->line_words * (1 + timing_fetch_wait(k->m, pc)) + k->p->fill_end;
}

static inline int vexriscv_has_result_in_execute(const timing_op *op)
{
    switch (op->kind) {
    case K_LOAD: case K_SHIFT: case K_MUL: case K_MULH: case K_MULHSU: case K_MULHU: case K_DIV: case K_DIVU: case K_REM: case K_REMU: case K_CSR: return 0;
    default: return 1;
    }
}

static inline int vexriscv_has_result_in_memory(const timing_op *op)
{
    return op->kind != K_LOAD && !timing_multiplies(op);
}

static inline int vexriscv_reads(const timing_op *op, unsigned rd) { return rd && (op->rs1 == rd || op->rs2 == rd); }

/* `user` in D in cycle c has to wait for one of the two instructions before the one in work. */
static inline int vexriscv_waits(const vexriscv_state *s, const timing_op *user, int c)
{
    return (s->producer[0].ready > c && vexriscv_reads(user, s->producer[0].rd)) ||
           (s->producer[1].ready > c && vexriscv_reads(user, s->producer[1].rd));
}

static inline int vexriscv_predicted(const timing_op *x)
{
    return x->kind == K_JAL || (x->kind == K_BRANCH && x->backward);
}

/* D holds an instruction that lets none follow it directly: its own jump, or an exception (decodeExceptionPort). */
static inline int vexriscv_followed(const timing_op *x) { return !vexriscv_predicted(x) && x->kind != K_ILLEGAL; }

/* fence.i empties the instruction cache, line by line, while P waits; the instruction behind it is in F already. Cycle to count from, for
 * one that leaves D in cycle `last`. One right behind another (which left D in cycle `before`) has nothing behind it in F: it asks while
 * the request before is being taken, and again in every other cycle. */
static inline int vexriscv_fence(int before, int last)
{
    return last - (before != VEX_LONG_AGO && ((last - before) & 1));
}

/* The instruction behind a fence.i is fetched from the old contents; from its next fetch on the cache is empty. */
static inline void vexriscv_emptied(vexriscv_work *k)
{
    if (k->s->flush) memset(k->c->itag, 0, sizeof k->c->itag);
    k->s->flush = 0;
}

/* A fence.i which is not to retire was in D, last in cycle `c`: it has emptied the cache all the same. */
static inline void vexriscv_flush(vexriscv_work *k, int c)
{
    memset(k->c->itag, 0, sizeof k->c->itag);
    k->s->fetch_free = (int16_t)(c + k->p->flush);
}

/* First cycle of P for the right path after a jump from M which D did not foresee, with what was fetched from `wrong` on. `first` is the
 * cycle in which the first of it comes to D: the one after the jump left D (it was behind it), or the cycle of the jump (predicted). */
static inline int vexriscv_redirect(vexriscv_work *k, uint32_t wrong, int first)
{
    const int jump = k->el + 1; /* first cycle in M; E and D are flushed in it */
    int next = k->ml;
    if (k->s->flush) return next; /* nothing was fetched behind a fence.i's next */
    const timing_op *a = timing_at(k->m, wrong);
    if (vexriscv_fetch_misses(k, wrong)) return later(next, vexriscv_filled(k, first, wrong));
    if (first == jump && a->kind == K_FENCE_I) vexriscv_flush(k, jump);
    if (first == jump || vexriscv_waits(k->s, a, k->el)) return next;
    int stuck = a->kind == K_CSR || a->kind == K_MRET; /* halts E (M is not empty), or D */
    if (vexriscv_followed(a)) {
        const timing_op *b = timing_at(k->m, wrong + 4);
        const int miss = vexriscv_fetch_misses(k, wrong + 4);
        if (a->kind == K_FENCE_I || (b->kind == K_FENCE_I && !miss)) vexriscv_flush(k, a->kind == K_FENCE_I ? k->el : jump);
        if (miss) return later(next, vexriscv_filled(k, jump, wrong + 4));
        stuck |= !vexriscv_has_result_in_execute(a) && vexriscv_reads(b, a->rd);
    }
    return next + (stuck && jump == k->ml); /* a stuck D holds P, flushed or not */
}

/* The instructions behind a load which W throws away: they come to D in the three cycles before, as the load moves, and may begin a
 * fill. Their path is what D predicts, so it is known from the code. Returns the first cycle of P they allow; *stuck: D is stuck in the
 * load's first cycle in W. `thrown` is the cycle in which all of it goes. */
static inline int vexriscv_behind(vexriscv_work *k, uint32_t pc, unsigned rd, int thrown, int *stuck)
{
    const timing_op *d = 0, *e = 0, *m = 0; /* behind the load in D, E, M; 0: a bubble */
    const int left[3] = {k->dl, k->el, k->ml};
    uint32_t coming = pc + 4;
    int bubbles = 0, fence = VEX_LONG_AGO, fetch = VEX_LONG_AGO; /* fence: cycle of a fence.i's leaving D */
    *stuck = 0;
    if (k->s->flush) return VEX_LONG_AGO; /* the load was fetched before a flush, nothing behind it */
    for (int move = 0; move < 3; move++) { /* the load leaves D, E, M */
        const int e_stuck = e && e->kind == K_CSR; /* the load is in M */
        const int d_stuck = e_stuck || (e && e->kind == K_MRET) ||
                            (d && (vexriscv_reads(d, rd) || vexriscv_waits(k->s, d, left[move]) ||
                                   (e && !vexriscv_has_result_in_execute(e) && vexriscv_reads(d, e->rd))));
        m = e_stuck ? 0 : e;
        if (!e_stuck) e = d_stuck ? 0 : d;
        if (d_stuck) continue;
        if (d && d->kind == K_FENCE_I) fence = vexriscv_fence(fence, left[move]);
        d = 0;
        if (bubbles) {
            bubbles--;
            continue;
        }
        d = timing_at(k->m, coming);
        if (vexriscv_fetch_misses(k, coming)) {
            fetch = vexriscv_filled(k, left[move] + 1, coming);
            d = 0, bubbles = 3;
        } else if (fence != VEX_LONG_AGO) bubbles = 3; /* it was in F when P was stopped */
        else if (vexriscv_predicted(d)) coming += (uint32_t)d->offset, bubbles = 1; /* P in the cycle in which the jump leaves D */
        else if (d->kind == K_ILLEGAL) bubbles = 3;
        else coming += 4;
    }
    if (d && d->kind == K_FENCE_I) fence = vexriscv_fence(fence, thrown);
    if (fence != VEX_LONG_AGO) vexriscv_flush(k, fence);
    *stuck = (e && (e->kind == K_CSR || e->kind == K_MRET)) || (m && (m->kind == K_MRET || timing_divides(m))) ||
             (d && e && !vexriscv_has_result_in_execute(e) && vexriscv_reads(d, e->rd)) ||
             (d && m && !vexriscv_has_result_in_memory(m) && vexriscv_reads(d, m->rd));
    return fetch;
}

/* A command for the data bus, from W in cycle `c` on: cycle in which it is taken. */
static inline int vexriscv_command(vexriscv_state *s, int c, int beats, int wait)
{
    int taken = later(c, s->bus_start); /* the skid register is free once the command before is on the bus */
    s->bus_start = (int16_t)(later(taken, s->bus_end) + 1);
    s->bus_end = (int16_t)(s->bus_start + beats * (1 + wait) - 1);
    return taken;
}

/* The load is fetched again from P in cycle `fetch` on, with nothing before it in the pipeline; E waits until `loaded`. */
static inline void vexriscv_again(vexriscv_work *k, uint32_t pc, int fetch, int loaded)
{
    fetch = later(fetch, k->s->fetch_free);
    vexriscv_emptied(k);
    k->d = fetch + 2;
    while (vexriscv_fetch_misses(k, pc)) k->d = vexriscv_filled(k, k->d, pc) + 2;
    k->dl = k->d;
    k->el = later(k->d + 1, loaded);
    k->ml = k->el + 1;
    k->wl = k->w = k->ml + 1;
}

static inline int vexriscv_collides(const vexriscv_work *k, uint32_t address, unsigned bytes)
{
    const vexriscv_store *x = k->c->stores;
    /* A store writes the cache while it is in W, the load compares in its last cycles in E and M: one of them is the store's last in W. */
    return (x[0].hit && x[0].word == address >> 2 && (x[0].bytes & bytes) && (k->el == 0 || k->ml == 0)) ||
           (x[1].hit && x[1].word == address >> 2 && (x[1].bytes & bytes) && k->el == k->s->w2);
}

static inline void vexriscv_load(vexriscv_work *k, const timing_op *op, const retired *r)
{
    const int wait = timing_data_wait(k->m, r->address, 0);
    if (r->address >> 31) { /* I/O: no cache; W waits for the registered response */
        vexriscv_command(k->s, k->w, 1, wait);
        k->wl = k->s->bus_end + 1;
        return;
    }
    uint32_t line = r->address >> VEX_LINE, *tag = &k->c->dtag[line % VEX_DLINES];
    int stuck, hit = *tag == line + 1;
    vexriscv_input(k->c, (unsigned)hit);
    if (!hit) {
        *tag = line + 1;
        int taken = vexriscv_command(k->s, k->w, k->p->line_words, wait);
        int fetch = vexriscv_behind(k, r->pc, op->rd, taken + 1, &stuck); /* W is stuck for two cycles: so is D */
        vexriscv_again(k, r->pc, later(taken + 2, fetch), k->s->bus_end + k->p->fill_end);
        return;
    }
    int collision = vexriscv_collides(k, r->address, ((1u << op->width) - 1) << (r->address & 3));
    vexriscv_input(k->c, (unsigned)collision);
    if (collision) {
        int fetch = vexriscv_behind(k, r->pc, op->rd, k->w, &stuck);
        vexriscv_again(k, r->pc, later(k->w + stuck, fetch), VEX_LONG_AGO);
    }
}

static inline void vexriscv_store_step(vexriscv_work *k, const timing_op *op, const retired *r, vexriscv_store *store)
{
    uint32_t line = r->address >> VEX_LINE;
    k->wl = vexriscv_command(k->s, k->w, 1, timing_data_wait(k->m, r->address, 1));
    int hit = !(r->address >> 31) && k->c->dtag[line % VEX_DLINES] == line + 1;
    if (hit) *store = (vexriscv_store){r->address >> 2, (uint8_t)(((1u << op->width) - 1) << (r->address & 3)), 1};
}

/* Makes the instruction in work the last one: times relative to its W, history shifted. */
static inline void vexriscv_shift(vexriscv_work *k, const timing_op *op)
{
    vexriscv_state *s = k->s;
    const int wl = k->wl;
    s->e1 = (int16_t)(k->el - wl), s->m1 = (int16_t)(k->ml - wl), s->w2 = (int16_t)-wl;
    s->producer[1] = s->producer[0];
    s->producer[1].ready = (int16_t)(s->producer[1].ready - wl);
    s->producer[0] = (vexriscv_producer){VEX_LONG_AGO, 0, 0};
    if (op->rd && !vexriscv_has_result_in_execute(op))
        s->producer[0] = (vexriscv_producer){(int16_t)((vexriscv_has_result_in_memory(op) ? k->el : k->ml) + 1 - wl), op->rd, 0};
    k->c->acknowledge = s->bus_end - wl;
    s->bus_start = (int16_t)(s->bus_start - wl), s->bus_end = (int16_t)(s->bus_end - wl), s->fetch_free = (int16_t)(s->fetch_free - wl);
}

/* Forgets what can matter no more, so that equal states are equal bytes: the next instruction is in D in cycle s->decode or later, in E,
 * M and W one, two and three cycles after that, and asks when it leaves D, E and M. */
static inline void vexriscv_clip(vexriscv_state *s)
{
    const int d = s->decode;
    if (s->e1 < d) s->e1 = VEX_LONG_AGO;
    if (s->m1 < d) s->m1 = VEX_LONG_AGO;
    if (s->w2 <= d) s->w2 = VEX_LONG_AGO;
    if (s->bus_start <= d + 3) s->bus_start = VEX_LONG_AGO;
    if (s->bus_end <= d + 3) s->bus_end = VEX_LONG_AGO;
    if (s->fetch_free <= d) s->fetch_free = VEX_LONG_AGO;
    for (int i = 0; i < 2; i++)
        if (s->producer[i].ready <= d) s->producer[i] = (vexriscv_producer){VEX_LONG_AGO, 0, 0};
}

/* First cycle in D of what P gives in cycle `fetch` at the earliest; it leaves F when nothing is frozen. In cycle `left` the last
 * instruction left D, so that cycle is not frozen. */
static inline int vexriscv_decode_after(const vexriscv_state *s, int fetch, int left)
{
    fetch = later(fetch, s->fetch_free);
    if (fetch > left) fetch = vexriscv_unfrozen(s, fetch);
    return vexriscv_unfrozen(s, fetch + 1) + 1;
}

/* D: fetch it, again after a miss, and wait for operands. */
static inline void vexriscv_decode(vexriscv_work *k, const timing_op *op, uint32_t pc)
{
    vexriscv_state *s = k->s;
    k->d = s->decode;
    while (vexriscv_fetch_misses(k, pc)) {
        k->d = vexriscv_decode_after(s, vexriscv_filled(k, k->d, pc), VEX_LONG_AGO);
        vexriscv_emptied(k);
    }
    k->dl = k->d;
    for (int i = 0; i < 2; i++)
        if (vexriscv_reads(op, s->producer[i].rd)) k->dl = later(k->dl, s->producer[i].ready);
    k->dl = vexriscv_unfrozen(s, k->dl);
}

/* First cycle of P for the next instruction where it is not the one behind; VEX_LONG_AGO where it is. */
static inline int vexriscv_jump(vexriscv_work *k, const timing_op *op, uint32_t pc, int taken, int *cause)
{
    const int predicted = vexriscv_predicted(op);
    switch (op->kind) {
    case K_JALR:
        *cause = C_JUMP;
        return vexriscv_redirect(k, pc + 4, k->dl + 1);
    case K_JAL:
        *cause = C_JUMP;
        return k->dl;
    case K_BRANCH:
        *cause = C_BRANCH;
        if (taken != predicted) return predicted ? vexriscv_redirect(k, pc + (uint32_t)op->offset, k->el + 1) : vexriscv_redirect(k, pc + 4, k->dl + 1);
        return predicted ? k->dl : VEX_LONG_AGO;
    case K_MRET: case K_ECALL: case K_EBREAK: {
        *cause = C_OTHER;
        int fetch = op->kind == K_MRET ? k->wl + 1 : k->ml + k->p->trap;
        if (k->s->flush) return fetch;
        if (vexriscv_fetch_misses(k, pc + 4)) return later(fetch, vexriscv_filled(k, k->dl + 1, pc + 4));
        /* what is behind is flushed at once by an exception, waits in D for mret to leave W */
        if (timing_at(k->m, pc + 4)->kind == K_FENCE_I) vexriscv_flush(k, op->kind == K_MRET ? k->wl : k->dl + 1);
        return fetch;
    }
    default: return VEX_LONG_AGO;
    }
}

/* Cycles lost, from the last stage to the first; what is left of them was lost before D. */
static inline void vexriscv_explain(const vexriscv_work *k, const timing_op *op, int hit_decode, int fetch, timing_report *out)
{
    memset(out->lost, 0, sizeof out->lost);
    int left = k->wl - 1;
    const int stages[5] = {k->wl - k->w, k->ml - k->el - 1, k->el - k->dl - 1, k->dl - k->d, k->d - hit_decode};
    const int causes[5] = {C_DATA, timing_divides(op) ? C_DIV : C_DATA, op->kind == K_CSR ? C_CSR : C_DATA, C_LOAD_USE, C_FETCH};
    for (int i = 0; i < 5; i++) {
        int lost = stages[i] < left ? stages[i] : left;
        if (lost > 0) out->lost[causes[i]] += (uint32_t)lost, left -= lost;
    }
    if (left > 0) out->lost[k->s->cause] += (uint32_t)left;
    if (!out->staged) return;
    timing_no_stages(out, 2);
    const int first[5] = {0, k->d, k->dl + 1, k->el + 1, k->ml + 1}; /* of a load that is fetched again: on its second way */
    for (int i = 1; i < 5; i++) out->stage[i] = first[i];
    out->end = k->wl + 1;
    out->behind = fetch != VEX_LONG_AGO ? fetch + 1 : k->d;
}

static inline uint32_t vexriscv_step(vexriscv_state *s, vexriscv_caches *c, const vexriscv_params *p, const timing_memory *m,
                                     const timing_op *op, const retired *r, timing_report *out)
{
    vexriscv_work k = {.s = s, .c = c, .p = p, .m = m};
    const int due = s->decode;
    vexriscv_store store = {0, 0, 0};
    c->inputs = 0;
    vexriscv_decode(&k, op, r->pc);
    k.el = op->kind == K_CSR ? later(k.dl + 1, 1) : vexriscv_unfrozen(s, k.dl + 1);
    k.ml = vexriscv_unfrozen(s, k.el + 1 + (timing_divides(op) ? p->divide : 0));
    k.w = k.wl = k.ml + 1;
    if (op->kind == K_LOAD) vexriscv_load(&k, op, r);
    if (op->kind == K_STORE) vexriscv_store_step(&k, op, r, &store);
    const int after_flush = s->flush; /* what follows waits for the flush */

    int cause = C_OTHER;
    int fetch = vexriscv_jump(&k, op, r->pc, r->taken, &cause);
    if (op->kind == K_FENCE_I) s->fetch_free = (int16_t)(vexriscv_fence(after_flush ? k.d - 1 : VEX_LONG_AGO, k.dl) + p->flush);
    if (out) vexriscv_explain(&k, op, due, fetch, out);

    vexriscv_shift(&k, op);
    if (out) out->seen = k.wl + c->acknowledge;
    vexriscv_emptied(&k);
    s->flush = op->kind == K_FENCE_I;
    s->cause = (uint8_t)cause;
    if (fetch != VEX_LONG_AGO) s->decode = (int16_t)vexriscv_decode_after(s, fetch - k.wl, k.dl - k.wl);
    else if (after_flush && !s->flush) s->decode = (int16_t)vexriscv_decode_after(s, VEX_LONG_AGO, k.dl - k.wl), s->cause = C_FETCH;
    else s->decode = (int16_t)(k.dl + 1 - k.wl);
    vexriscv_clip(s);
    c->stores[1] = c->stores[0], c->stores[0] = store;
    return (uint32_t)k.wl;
}
#endif
