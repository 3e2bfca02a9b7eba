/* Exact timing of a core that is made of numbers: one instruction a cycle at most, in order, through two to seven stages.
 *
 * Stages are counted from 1, the prefetch buffer (prefetch.h). An instruction moves on when its work in a stage is done and the stage behind it is
 * free; a stage that waits holds up those before it, but bubbles are closed. What happens in which stage:
 *
 *   issue      waits for its operands, so that they are there as it enters `execute` (which may be the same stage)
 *   execute    computes; multiplier, divider and CSRs keep it for their cycles
 *   access     a load or store asks the bus ...
 *   answer     ... and waits for the answer (one stage if they are the same)
 *   branch, jump, jump_register   fetching goes on at the target, from the first cycle in the stage with its operands there, and `branch_delay`
 *              or `jump_delay` cycles later; whatever the stages behind wait for
 *   stages     the last one writes the registers, and retires
 *
 * A stage that is 0 follows from the number of stages (INORDER_USUAL), so that the cost of a branch, or of a load's user, follows from the pipeline.
 * All times are maxima of sums of others; none is stepped. The wrong path is fetched but not executed.
 */
#ifndef RVSIM_INORDER_H
#define RVSIM_INORDER_H
#include "prefetch.h"

enum { FORWARDING_NONE, FORWARDING_PARTIAL, FORWARDING_FULL };
enum { PREDICTOR_NONE, PREDICTOR_BACKWARD, PREDICTOR_BIMODAL, PREDICTOR_BTB };
enum { DIVIDER_FIXED, DIVIDER_DIVISOR, DIVIDER_QUOTIENT };
enum { FLUSHES_NONE, FLUSHES_WRITES, FLUSHES_ALL };

/* What a stage does; IS_ANSWERED: waits for the bus, WRITES: waits for its result. */
enum { ISSUES = 1, EXECUTES = 2, JUMPS = 4, JUMPS_REGISTER = 8, BRANCHES = 16, ASKS = 32, IS_ANSWERED = 64, WRITES = 128 };

typedef struct {
    uint8_t stages;                                 /* 2 to 7 */
    uint8_t issue, execute, access, answer;         /* stages; 0: the usual */
    uint8_t branch, jump, jump_register;
    uint8_t branch_delay, jump_delay;               /* cycles from there to the target's request */
    uint8_t forwarding;                             /* none: from the register file; partial: loads and products from there; full */
    uint8_t load_to_use;                            /* cycles from a load's answer to the first in which `execute` can use it */
    uint8_t store_data_late;                        /* 1: a store's data is wanted a cycle behind its address */
    uint8_t multiply, multiply_high;                /* cycles to the result */
    uint8_t multiply_pipelined;                     /* 1: `execute` is kept for one of them */
    uint8_t divide;                                 /* cycles */
    uint8_t divide_bits;                            /* and those of leading zeros of the divisor's magnitude, or of bits of the quotient */
    uint8_t divide_step;                            /* bits a cycle */
    uint8_t divide_by_zero;                         /* cycles; 0: as any other */
    uint8_t divide_sign;                            /* further cycles with a negative dividend */
    uint8_t csr, csr_flush, csr_flushes;            /* cycles of a CSR access; of one that empties the pipeline; which do */
    uint8_t fence, fence_i, trap, mret;             /* cycle of `execute` from which fetching begins anew; 0: it does not */
    uint8_t predictor, predictor_entries;
    uint8_t predictor_backward;                     /* 1: the branch target buffer remembers backward branches alone */
    uint8_t prefetch;                               /* words */
    uint8_t prefetch_keeps;                         /* the decoder keeps, and makes room for: 1, the second half of a word; 2, also the next word beside a half */
    uint8_t fetch_outstanding, data_outstanding;
    uint8_t ports;
    uint8_t blocking;                               /* 1: wait states keep the bus; 0: it takes a request each cycle */
    uint8_t does[8];                                /* by stage; made of the numbers above */
} inorder_params;


/* By number of stages. Two: all at once. Three: answers come behind execution. Four: a stage to decode in, from which jal jumps. Five: a stage between the
 * answer and writing. Six and seven: a second stage of fetch; and a stage between decoding and issue. */
static const uint8_t INORDER_USUAL[8][7] = {
    {0}, {0}, {2, 2, 2, 2, 2, 2, 2}, {2, 2, 2, 3, 2, 2, 2}, {2, 3, 3, 4, 3, 2, 3}, {2, 3, 3, 4, 3, 2, 3}, {3, 4, 4, 5, 4, 3, 4}, {4, 5, 5, 6, 5, 3, 5}};

enum { INORDER_RESPONSES = 4, INORDER_STAGES = 7, INORDER_ENTRIES = 128 };

typedef struct {               /* what depends on addresses: history of branches */
    uint32_t inputs;           /* hash of what the last step read of it */
    uint32_t source[INORDER_ENTRIES], target[INORDER_ENTRIES]; /* branch target buffer; source: address + 1, 0 for none */
    uint8_t counter[INORDER_ENTRIES]; /* bimodal, two bits: taken above 1; kept exclusive-or 1, so that 0 is weakly not taken */
} inorder_history;

typedef struct {               /* times relative to the last retirement */
    prefetch fetch;
    int16_t enter[INORDER_STAGES + 2];  /* [k]: the last instruction's first cycle in stage k, from 3 on */
    int16_t response[INORDER_RESPONSES]; /* to loads and stores, the newest last */
    int16_t ready[32];         /* registers: first cycle in which a stage can use their values, of those that are pending */
    uint32_t pending;          /* bit r: register r */
    int16_t redirect_ready;    /* for the report: when the target could be taken, and why fetching went elsewhere */
    uint8_t redirect_cause;
    uint8_t kept;              /* half-words that come next which the decoder keeps (prefetch_keeps) */
    int16_t kept_come;         /* when they came */
} inorder_state;

typedef struct {
    prefetch_shape buffer;
    uint32_t head;             /* address of the buffer's first word */
    int halves;                /* of the next word that the decoder has room for beside the instruction, if it takes it whole; 0: none */
    int taken, valid;          /* cycles: taken from the buffer; could have been, had the pipeline been free */
    int operands, start, work; /* operands are there; execution begins; its cycles */
    int request, answer;       /* of a load or store */
    int decode, resolve;       /* cycles in which a jump, a branch can redirect */
} inorder_work;

static inline prefetch_shape inorder_buffer(const inorder_params *p)
{
    return (prefetch_shape){p->prefetch, p->fetch_outstanding, p->blocking, p->ports == 1};
}

/* Fills in stages that are 0, and what each does. Why the numbers, each within its range, do not make a core; NULL if they do. */
static inline const char *inorder_prepare(inorder_params *p)
{
    uint8_t *stages[] = {&p->issue, &p->execute, &p->access, &p->answer, &p->branch, &p->jump, &p->jump_register};
    for (int i = 0; i < 7; i++)
        if (!*stages[i]) *stages[i] = INORDER_USUAL[p->stages][i];
    if (p->issue < 2) return "issue: expected a stage from 2 on: 1 is the prefetch buffer";
    if (p->execute < p->issue) return "execute: expected the stage of issue, or one behind it";
    if (p->access < p->execute) return "access: expected the stage of execute, or one behind it: it computes the address";
    if (p->answer < p->access) return "answer: expected the stage of access, or one behind it";
    if (p->answer > p->stages) return "answer: expected a stage of the pipeline, at most the last of `stages`";
    if (p->branch < p->issue || p->branch > p->stages) return "branch: expected the stage of issue, or one behind it, of the pipeline";
    if (p->jump < 2 || p->jump > p->stages) return "jump: expected a stage of the pipeline, from 2 on";
    if (p->jump_register < p->issue || p->jump_register > p->stages)
        return "jump_register: expected the stage of issue, or one behind it, of the pipeline";
    if (p->fetch_outstanding > p->prefetch) return "fetch_outstanding: expected at most the words of `prefetch`: each answer needs its place";
    if (p->predictor_entries & (p->predictor_entries - 1)) return "predictor_entries: expected a power of two";
    memset(p->does, 0, sizeof p->does);
    p->does[p->issue] |= ISSUES, p->does[p->execute] |= EXECUTES, p->does[p->access] |= ASKS, p->does[p->answer] |= IS_ANSWERED;
    p->does[p->branch] |= BRANCHES, p->does[p->jump] |= JUMPS, p->does[p->jump_register] |= JUMPS_REGISTER, p->does[p->stages] |= WRITES;
    return NULL;
}

static inline void inorder_reset(inorder_state *s, const inorder_params *p, const timing_memory *m, uint32_t entry)
{
    (void)m, (void)entry;
    memset(s, 0, sizeof *s);
    for (int k = 0; k < p->prefetch; k++) s->fetch.time[k] = (int16_t)k;
    s->fetch.last = s->fetch.busy_from = s->fetch.busy_to = PREFETCH_LONG_AGO;
    for (int i = 0; i < 32; i++) s->ready[i] = PREFETCH_LONG_AGO;
    for (int k = p->stages + 1; k <= INORDER_STAGES + 1; k++) s->enter[k] = 1;
}

static inline int inorder_sound(const inorder_state *s)
{
    int far = s->redirect_cause >= CAUSES || s->kept > 2;
    for (int i = 0; i < INORDER_RESPONSES; i++) far |= s->response[i] > -PREFETCH_LONG_AGO || s->response[i] < PREFETCH_LONG_AGO;
    for (int i = 0; i < 32; i++) far |= s->ready[i] > -PREFETCH_LONG_AGO || s->ready[i] < PREFETCH_LONG_AGO || (!(s->pending >> i & 1) && s->ready[i] != PREFETCH_LONG_AGO);
    for (int i = 0; i < INORDER_STAGES + 2; i++) far |= s->enter[i] > 1 || s->enter[i] < PREFETCH_LONG_AGO;
    return prefetch_sound(&s->fetch) && !far;
}

/* ---------------------------------------------------------------- fetch */

/* The instruction goes from the buffer to stage 2. A word leaves the buffer with its last half; where the decoder keeps a half, with its first one,
 * be that half an instruction or the begin of one. */
static inline void inorder_take(inorder_work *k, inorder_state *s, const inorder_params *p, const timing_memory *m, const timing_op *op, uint32_t pc)
{
    const int upper = pc >> 1 & 1, wide = op->size == 4, free = s->enter[3] - 1;
    int words = 1 + (upper & wide), leave = upper | wide;
    k->valid = free;
    if (p->prefetch_keeps) {
        if (s->kept) words--, k->head += 4;
        if (s->kept) k->valid = later(free, s->kept_come);
        s->kept_come = PREFETCH_LONG_AGO;
        if (words == 2) {
            prefetch_take(&s->fetch, k->buffer, m, k->head, later(prefetch_come(&s->fetch, k->buffer, m, k->head, 0), free));
            words = 1, k->head += 4;
        }
        leave = words;
        s->kept = (uint8_t)(upper == wide);
    }
    if (words) k->valid = prefetch_come(&s->fetch, k->buffer, m, k->head, words - 1);
    k->taken = later(k->valid, free);
    if (leave) prefetch_take(&s->fetch, k->buffer, m, k->head, k->taken), k->head += 4;
}

/* Time goes by, up to and including a cycle before which there is no redirect. A decoder that keeps a whole word takes the next one beside a half. */
static inline void inorder_until(inorder_work *k, inorder_state *s, const inorder_params *p, const timing_memory *m, int time)
{
    prefetch_until(&s->fetch, k->buffer, m, k->head, time);
    if (p->prefetch_keeps < 2 || !k->halves || !s->fetch.known) return;
    s->kept = (uint8_t)k->halves;
    s->kept_come = s->fetch.time[0];
    prefetch_pass(&s->fetch, k->buffer, later(s->kept_come, k->taken));
    k->head += 4, k->halves = 0;
    prefetch_until(&s->fetch, k->buffer, m, k->head, time);
}

static inline void inorder_redirect(inorder_work *k, inorder_state *s, const inorder_params *p, const timing_memory *m, uint32_t target, int time)
{
    inorder_until(k, s, p, m, time - 1);
    prefetch_redirect(&s->fetch, k->buffer, m, k->head, time);
    k->head = target & ~3u;
    k->halves = s->kept = 0;
}

/* ---------------------------------------------------------------- execution */

static inline int inorder_bits(uint32_t x) { return x ? 32 - __builtin_clz(x) : 0; }

static inline int inorder_division(const inorder_params *p, const timing_op *op, const retired *r)
{
    int is_signed = op->kind == K_DIV || op->kind == K_REM, bits = 0;
    uint32_t a = is_signed && r->rs1 >> 31 ? -r->rs1 : r->rs1, b = is_signed && r->rs2 >> 31 ? -r->rs2 : r->rs2;
    if (!b && p->divide_by_zero) return p->divide_by_zero;
    if (p->divide_bits == DIVIDER_DIVISOR) bits = 32 - inorder_bits(b);
    if (p->divide_bits == DIVIDER_QUOTIENT) bits = later(0, inorder_bits(a) - inorder_bits(b) + 1);
    return p->divide + (bits + p->divide_step - 1) / p->divide_step + (is_signed && r->rs1 >> 31 ? p->divide_sign : 0);
}

/* A CSR access that empties the pipeline; never of mscratch and mepc, which nothing else looks p-> */
static inline int inorder_csr_flushes(const inorder_params *p, const timing_op *op)
{
    return op->csr != 0x340 && op->csr != 0x341 && (p->csr_flushes == FLUSHES_ALL || (p->csr_flushes == FLUSHES_WRITES && op->csr_writes));
}

/* Cycles that the instruction keeps `execute`; *result: to its result. */
static inline int inorder_cycles(const inorder_params *p, const timing_op *op, const retired *r, int *result)
{
    int cycles = 1;
    switch (op->kind) {
    case K_MUL: case K_MULH: case K_MULHSU: case K_MULHU:
        *result = op->kind == K_MUL ? p->multiply : p->multiply_high;
        return p->multiply_pipelined ? 1 : *result;
    case K_DIV: case K_DIVU: case K_REM: case K_REMU: cycles = inorder_division(p, op, r); break;
    case K_CSR: cycles = inorder_csr_flushes(p, op) ? p->csr_flush : p->csr; break;
    default: break;
    }
    return *result = cycles;
}

static inline int inorder_accesses(const timing_op *op) { return op->kind >= K_LOAD && op->kind <= K_AMO; }
static inline int inorder_loads(const timing_op *op) { return inorder_accesses(op) && op->kind != K_STORE; }

/* One access of the bus from `time` on; `limit`: it counts as one of those outstanding. Returns the cycle of its answer, and of its request. */
static inline int inorder_access(inorder_state *s, const inorder_params *p, const timing_memory *m, uint32_t address, int store,
                                 int time, int limit, int *request)
{
    prefetch *f = &s->fetch;
    int q = limit ? later(time, s->response[INORDER_RESPONSES - p->data_outstanding]) : time;
    if (p->blocking) q = later(q, s->response[INORDER_RESPONSES - 1]);
    if (p->blocking && p->ports == 1) q = later(q, f->last); /* a fetch is on the bus */
    int answer = later(q + 1 + timing_data_wait(m, address, store), s->response[INORDER_RESPONSES - 1] + 1);
    for (int i = 1; i < INORDER_RESPONSES; i++) s->response[i - 1] = s->response[i];
    s->response[INORDER_RESPONSES - 1] = (int16_t)answer;
    if (p->ports == 1) {
        if (f->busy_to < q) f->busy_from = (int16_t)q;
        f->busy_to = (int16_t)(p->blocking ? answer : q + 1);
    }
    *request = q;
    return answer;
}

/* A load or store in the stage that asks the bus from `time` on; `free`: a cycle before which no later instruction is taken. Returns the cycle
 * of its last request. What lies in two words is two accesses, and an atomic operation a load and, behind its answer, a store. */
static inline int inorder_ask(inorder_work *k, inorder_state *s, const inorder_params *p, const timing_memory *m, const timing_op *op, uint32_t address,
                              int time, int free)
{
    int last, store = op->kind == K_STORE || op->kind == K_SC;
    if (p->ports == 1) prefetch_until(&s->fetch, k->buffer, m, k->head, sooner(time - 1, free));
    k->answer = inorder_access(s, p, m, address, store, time, 1, &k->request);
    last = k->request;
    if ((address & 3) + op->width > 4) k->answer = inorder_access(s, p, m, (address & ~3u) + 4, store, last + 1, 0, &last);
    if (op->kind == K_AMO) k->answer = inorder_access(s, p, m, address, 1, k->answer + 1, 0, &last);
    return last;
}

/* When the operands are there: as execution wants them. */
static inline int inorder_operands(const inorder_state *s, const inorder_params *p, const timing_op *op)
{
    int data = s->ready[op->rs2] - (op->kind == K_STORE && p->store_data_late);
    return later(s->ready[op->rs1], data);
}

static inline unsigned inorder_wants(const timing_op *op)
{
    switch (op->kind) {
    case K_LOAD: case K_STORE: case K_LR: case K_SC: case K_AMO: return ISSUES | EXECUTES | ASKS | IS_ANSWERED;
    case K_BRANCH: return ISSUES | EXECUTES | JUMPS | BRANCHES | WRITES;
    case K_JAL: return ISSUES | EXECUTES | JUMPS | WRITES;
    case K_JALR: return ISSUES | EXECUTES | JUMPS_REGISTER | WRITES;
    default: return ISSUES | EXECUTES | WRITES;
    }
}

/* Through the stages, from the second on; returns the last cycle in the last one. */
static inline int inorder_run(inorder_work *k, inorder_state *s, const inorder_params *p, const timing_memory *m, const timing_op *op, const retired *r)
{
    int result, first = k->taken + 1, left = first, free = first;
    const unsigned wants = inorder_wants(op);
    k->operands = inorder_operands(s, p, op);
    k->work = inorder_cycles(p, op, r, &result);
    for (int stage = 2; stage <= p->stages; stage++) {
        const unsigned does = p->does[stage] & wants;
        left = first;
        if (does & ISSUES) left = later(left, k->operands - (p->execute - p->issue));
        if (does & EXECUTES) k->start = left, left += k->work - 1;
        if (does & JUMPS) k->decode = first;
        if (does & JUMPS_REGISTER) left = later(left, k->decode = later(first, s->ready[op->rs1]));
        if (does & BRANCHES) left = later(left, k->resolve = later(first, k->operands));
        if (does & ASKS) left = inorder_ask(k, s, p, m, op, r->address, left, stage == 2 ? left : free);
        if (does & IS_ANSWERED) left = later(left, k->answer);
        if (does & WRITES) left = later(left, k->start + result - 1);
        if (stage < p->stages) left = later(left, s->enter[stage + 2] - 1);
        if (stage == 2) free = left;
        s->enter[stage] = (int16_t)first; /* the last instruction's is not looked at any more */
        first = left + 1;
    }
    for (int stage = 2; stage <= p->stages; stage++) s->enter[stage] = (int16_t)(s->enter[stage] - left);
    if (op->rd) {
        int ready = inorder_loads(op) ? k->answer + p->load_to_use : k->start + result;
        if (p->forwarding == FORWARDING_NONE || (p->forwarding == FORWARDING_PARTIAL && (inorder_loads(op) || timing_multiplies(op))))
            ready = later(ready, left + 1);
        s->ready[op->rd] = (int16_t)ready, s->pending |= 1u << op->rd;
    }
    return left;
}

/* ---------------------------------------------------------------- where fetching goes on */

static inline uint32_t inorder_slot(const inorder_params *p, uint32_t pc) { return (pc >> 1) & (uint32_t)(p->predictor_entries - 1); }

/* Whether the branch target buffer leads from here to the target: it has seen the branch or jump go there last. */
static inline int inorder_found(inorder_history *h, const inorder_params *p, uint32_t pc, uint32_t target)
{
    uint32_t slot = inorder_slot(p, pc);
    int found = p->predictor == PREDICTOR_BTB && h->source[slot] == pc + 1 ? 1 + (h->target[slot] == target) : 0;
    h->inputs = h->inputs * 4 + 1 + (uint32_t)found;
    return found;
}

static inline void inorder_learn(inorder_history *h, const inorder_params *p, uint32_t pc, uint32_t target, int taken, int backward)
{
    uint32_t slot = inorder_slot(p, pc);
    if (p->predictor == PREDICTOR_BTB && taken && (backward || !p->predictor_backward)) h->source[slot] = pc + 1, h->target[slot] = target;
    if (p->predictor == PREDICTOR_BTB && !taken && h->source[slot] == pc + 1) h->source[slot] = 0;
    if (p->predictor == PREDICTOR_BIMODAL) {
        int counter = h->counter[slot] ^ 1;
        h->counter[slot] = (uint8_t)(sooner(3, later(0, counter + (taken ? 1 : -1))) ^ 1);
    }
}

/* Foreseen as it was fetched: the words behind it in the buffer are its target's (asked for in the same cycles; that memory is asked for other
 * addresses is not modelled). Of its own word nothing is left. */
static inline void inorder_follow(inorder_work *k, inorder_state *s, const inorder_params *p, const timing_memory *m, const timing_op *op,
                                  uint32_t behind, uint32_t target)
{
    if (!p->prefetch_keeps && behind & 2) prefetch_take(&s->fetch, k->buffer, m, k->head, k->taken);
    k->halves = target & 2 ? 1 : op->size == 2 ? 2 : 0;
    s->kept = 0;
    k->head = target & ~3u;
}

static inline int inorder_branch(inorder_work *k, inorder_state *s, inorder_history *h, const inorder_params *p, const timing_memory *m, const timing_op *op,
                                 const retired *r)
{
    uint32_t behind = r->pc + op->size, target = r->pc + (uint32_t)op->offset;
    int resolve = k->resolve + p->branch_delay, guess = p->predictor == PREDICTOR_BACKWARD && op->backward;
    if (p->predictor == PREDICTOR_BIMODAL) guess = (h->counter[inorder_slot(p, r->pc)] ^ 1) > 1;
    h->inputs = h->inputs * 2 + 1 + (uint32_t)guess;
    int found = inorder_found(h, p, r->pc, target);
    inorder_learn(h, p, r->pc, target, r->taken, op->backward);
    if (found == 2 && r->taken) {
        inorder_follow(k, s, p, m, op, behind, r->next_pc);
        return PREFETCH_LONG_AGO;
    }
    if (guess) inorder_redirect(k, s, p, m, target, sooner(k->decode + p->jump_delay, resolve));
    if (guess && r->taken) return sooner(k->decode + p->jump_delay, resolve);
    if (!r->taken && !guess && !found) return PREFETCH_LONG_AGO;
    inorder_redirect(k, s, p, m, r->taken ? r->next_pc : behind, resolve);
    return resolve;
}

/* Cycle in which the path was left, PREFETCH_LONG_AGO if it was not. */
static inline int inorder_path(inorder_work *k, inorder_state *s, inorder_history *h, const inorder_params *p, const timing_memory *m, const timing_op *op,
                               const retired *r)
{
    int time = 0;
    switch (op->kind) {
    case K_BRANCH: return inorder_branch(k, s, h, p, m, op, r);
    case K_JAL: case K_JALR:
        if (inorder_found(h, p, r->pc, r->next_pc) == 2) {
            inorder_follow(k, s, p, m, op, r->pc + op->size, r->next_pc);
            return PREFETCH_LONG_AGO;
        }
        inorder_learn(h, p, r->pc, r->next_pc, 1, 0);
        time = k->decode + p->jump_delay;
        break;
    case K_FENCE: time = p->fence ? k->start + p->fence - 1 : PREFETCH_LONG_AGO; break;
    case K_FENCE_I: time = p->fence_i ? k->start + p->fence_i - 1 : PREFETCH_LONG_AGO; break;
    case K_ECALL: case K_EBREAK: time = k->start + p->trap - 1; break;
    case K_MRET: time = k->start + p->mret - 1; break;
    default: return PREFETCH_LONG_AGO;
    }
    if (time != PREFETCH_LONG_AGO) inorder_redirect(k, s, p, m, r->next_pc, time);
    return time;
}

/* ---------------------------------------------------------------- a step */

static inline void inorder_report(const inorder_work *k, const inorder_state *s, const inorder_params *p, int redirect_ready,
                                  enum timing_cause redirect_cause, const timing_op *op, int left, int retire, timing_report *out)
{
    int mark = 1, behind = p->stages - 1, done = p->stages - p->execute;
    memset(out->lost, 0, sizeof out->lost);
    timing_charge(out, &mark, sooner(sooner(redirect_ready, k->valid) + behind, retire), redirect_cause);
    timing_charge(out, &mark, sooner(k->valid + behind, retire), C_FETCH);
    timing_charge(out, &mark, sooner(k->operands + done, retire), C_LOAD_USE);
    timing_charge(out, &mark, retire, timing_cause_of(op));
    out->seen = inorder_accesses(op) ? k->request : k->start;
    if (!out->staged) return;
    timing_no_stages(out, p->execute - 1);
    for (int stage = 2; stage <= p->stages; stage++) out->stage[stage - 1] = s->enter[stage] + retire;
    out->end = retire + 1;
    out->behind = left == PREFETCH_LONG_AGO ? k->taken + 1 : left;
}

static inline uint32_t inorder_step(inorder_state *s, inorder_history *h, const inorder_params *p, const timing_memory *m, const timing_op *op,
                                    const retired *r, timing_report *out)
{
    inorder_work k = {.buffer = inorder_buffer(p), .head = r->pc & ~3u, .halves = r->pc & 2 && op->size == 2 ? 2 : 0};
    const int redirect_ready = s->redirect_ready;
    const enum timing_cause redirect_cause = (enum timing_cause)s->redirect_cause;
    h->inputs = 0;
    inorder_take(&k, s, p, m, op, r->pc);
    const int retire = inorder_run(&k, s, p, m, op, r);
    const int free = (p->stages > 2 ? s->enter[3] : 1) + retire - 1; /* the last cycle in stage 2: the next instruction is taken no earlier */
    const int left = inorder_path(&k, s, h, p, m, op, r);
    if (out) inorder_report(&k, s, p, redirect_ready, redirect_cause, op, left, retire, out);

    inorder_until(&k, s, p, m, free);
    s->kept_come = (int16_t)(later(s->kept_come, free) - retire);
    prefetch_rebase(&s->fetch, k.buffer, retire, free);
    for (int i = 0; i < INORDER_RESPONSES; i++) s->response[i] = (int16_t)(later(s->response[i], free) - retire);
    for (uint32_t pending = s->pending; pending; pending &= pending - 1) {
        const int i = __builtin_ctz(pending);
        if (s->ready[i] > free + 1) s->ready[i] = (int16_t)(s->ready[i] - retire);
        else s->ready[i] = PREFETCH_LONG_AGO, s->pending &= ~(1u << i);
    }
    s->redirect_ready = (int16_t)(left == PREFETCH_LONG_AGO ? PREFETCH_LONG_AGO : left + 1 - retire);
    s->redirect_cause = (uint8_t)(left == PREFETCH_LONG_AGO ? C_FETCH : timing_cause_of(op));
    return (uint32_t)retire;
}
#endif
