/* Exact timing of Ibex, with two pipeline stages (IF, ID/EX) or three (and writeback). Sources: RTL of lowRISC/ibex @ 8b8ee086 (file
 * and signal named at each rule), doc/03_reference/pipeline_details.rst, and the RTL cycle counts of shared/rtl-cycles ("measured").
 *
 * Vocabulary, for instruction i:
 *   transfer  cycle in which it goes from the fetch FIFO into ID: valid there, ID ready, no redirect
 *   start     first cycle in which it executes in ID
 *   end       cycle in which ID is ready for the next instruction (that may transfer in the same cycle)
 *   retire    rvfi_valid less its constant delay: without writeback the cycle of instr_id_done, with it of instr_done_wb
 */
#ifndef RVSIM_IBEX_H
#define RVSIM_IBEX_H
#include "obi_fetch.h"

typedef struct {
    uint8_t writeback;          /* WritebackStage: loads and stores wait for their response behind ID */
    uint8_t branch_target_alu;  /* BranchTargetALU: jumps and taken branches occupy ID for one cycle instead of two */
    uint8_t mul, mulh;          /* cycles in ID */
    uint8_t div, div_by_zero;
    uint8_t flush;              /* cycles from the start of a flushing CSR write, trap or mret to ID being ready again */
} ibex_params;

enum { IBEX_DEPTH = 3 };

typedef struct {               /* times relative to the last retirement */
    prefetch fetch;            /* head: the word with the next half-word to decode */
    int16_t ready;             /* ID is ready for a transfer from here on */
    uint8_t load_rd;           /* with writeback: register of the load that retired last, else 0 */
    uint8_t redirect_cause;    /* for the report: why the sequence of fetches was left, and when the target could be in ID */
    int16_t redirect_ready;
} ibex_state;

static inline void ibex_reset(ibex_state *s, const ibex_params *p, const timing_memory *m, uint32_t entry)
{
    (void)p, (void)m, (void)entry;
    memset(s, 0, sizeof *s);
    obi_reset(&s->fetch, IBEX_DEPTH);
    s->ready = 1;
}

static inline int ibex_sound(const ibex_state *s)
{
    return prefetch_sound(&s->fetch) && s->ready > PREFETCH_LONG_AGO && s->ready < -PREFETCH_LONG_AGO && s->load_rd < 32 && s->redirect_cause < CAUSES;
}

typedef struct { int transfer, valid, hazard, start, end, retire, redirect, request, behind; } ibex_times;

enum { IBEX_NO_REDIRECT = -(1 << 15) };

/* The fetch FIFO gives a 32-bit instruction in the upper half of a word only once that word is in the FIFO and the next one is there
 * or arriving (ibex_fetch_fifo.sv, valid_unaligned); all others as their word arrives. A word is popped with its last half. */
static inline void ibex_take(ibex_state *s, const timing_memory *m, const timing_op *op, uint32_t pc, ibex_times *t)
{
    t->valid = prefetch_come(&s->fetch, obi_fetch(IBEX_DEPTH), m, pc & ~3u, (pc & 2) && op->size == 4);
    t->transfer = later(t->valid, s->ready);
    if ((pc & 2) + op->size >= 4) prefetch_take(&s->fetch, obi_fetch(IBEX_DEPTH), m, pc & ~3u, t->transfer);
}

/* A load or store from its request to the response that ends it. The second access of a misaligned one is requested a cycle behind the
 * first, whose response need not be there (ibex_load_store_unit.sv, WAIT_RVALID_MIS); `granted`: the cycle in which nothing is
 * left to request, which is not before the first response (WAIT_RVALID_MIS_GNTS_DONE). */
static inline int ibex_access(const timing_memory *m, const timing_op *op, uint32_t address, int request, int *granted)
{
    int store = op->kind == K_STORE, response = request + obi_data_latency(m, address, store);
    *granted = request;
    if (!obi_splits(op, address)) return response;
    *granted = response;
    return later(request + 1 + obi_data_latency(m, (address & ~3u) + 4, store), response + 1);
}

/* CSR writes flush the pipeline, but those of mscratch and mepc (ibex_id_stage.sv, csr_pipe_flush); reads never do. */
static inline int ibex_csr_flushes(const timing_op *op) { return op->csr_writes && op->csr != 0x340 && op->csr != 0x341; }

static inline int ibex_cycles(const ibex_params *p, const timing_op *op, const retired *r)
{
    switch (op->kind) {
    case K_MUL: return p->mul;
    case K_MULH: case K_MULHSU: case K_MULHU: return p->mulh;
    case K_DIV: case K_DIVU: case K_REM: case K_REMU: return r->rs2 ? p->div : p->div_by_zero;
    default: return 1;
    }
}

/* Execution of an instruction that is in ID from `t->start` on (`speculative`: what a branch or jump needs to redirect fetching,
 * which does not wait for the data response of the instruction before; ibex_id_stage.sv, instr_executing_spec). */
static inline void ibex_execute(ibex_state *s, const ibex_params *p, const timing_memory *m, const timing_op *op, const retired *r,
                                int speculative, ibex_times *t)
{
    t->end = t->start;
    switch (op->kind) {
    case K_LOAD: case K_STORE: case K_LR: case K_SC: case K_AMO: {
        t->request = t->start;
        int response = ibex_access(m, op, r->address, t->start, &t->end);
        if (!p->writeback) t->end = response;
        t->retire = response;
        s->load_rd = p->writeback && op->kind != K_STORE ? op->rd : 0;
        return;
    }
    case K_BRANCH:
        /* Without the target ALU the target is computed, and fetched, a cycle behind the condition (branch_set_raw_q). */
        if (r->taken) {
            t->redirect = speculative + !p->branch_target_alu;
            t->end += !p->branch_target_alu;
        }
        break;
    case K_JAL: case K_JALR: case K_FENCE_I: /* fence.i is a jump to the next instruction (ibex_decoder.sv) */
        t->redirect = speculative;
        t->end += !p->branch_target_alu;
        break;
    case K_ECALL: case K_EBREAK: case K_MRET:
        t->redirect = t->start + 1; /* state FLUSH */
        t->end += p->flush;
        t->retire = t->start + p->writeback;
        s->load_rd = 0;
        return;
    case K_CSR:
        t->retire = t->start + p->writeback;
        if (ibex_csr_flushes(op)) t->end += p->flush;
        s->load_rd = 0;
        return;
    default:
        t->end += ibex_cycles(p, op, r) - 1;
    }
    t->retire = t->end + p->writeback;
    s->load_rd = 0;
}

static inline void ibex_report(const ibex_state *before, const ibex_params *p, const timing_op *op, const ibex_times *t, timing_report *out)
{
    int mark = 1, behind = 1 + p->writeback; /* from transfer to the earliest retirement */
    memset(out->lost, 0, sizeof out->lost);
    timing_charge(out, &mark, sooner(t->transfer, before->redirect_ready) + behind, (enum timing_cause)before->redirect_cause);
    timing_charge(out, &mark, t->transfer + behind, C_FETCH);
    timing_charge(out, &mark, t->start + p->writeback, t->hazard ? C_LOAD_USE : C_DATA);
    timing_charge(out, &mark, t->retire, timing_cause_of(op));
    out->seen = t->request == IBEX_NO_REDIRECT ? t->start : t->request;
    if (!out->staged) return;
    timing_no_stages(out, 1);
    out->stage[1] = t->transfer + 1;
    /* A load or store leaves ID when all is requested, what flushes stays in it behind its retirement: WB is then one cycle. */
    if (p->writeback) out->stage[2] = timing_cause_of(op) == C_DATA ? t->end + 1 : t->retire;
    out->end = t->retire + 1;
    out->behind = t->behind;
}

static inline uint32_t ibex_step(ibex_state *s, const ibex_params *p, const timing_memory *m, const timing_op *op, const retired *r,
                                 timing_report *out)
{
    const ibex_state before = {.redirect_cause = s->redirect_cause, .redirect_ready = s->redirect_ready}; /* for the report */
    ibex_times t = {.redirect = IBEX_NO_REDIRECT, .request = IBEX_NO_REDIRECT};
    ibex_take(s, m, op, r->pc, &t);
    /* With writeback an instruction executes no earlier than the data response of the one before, which is when that retires (time 0;
     * outstanding_memory_access), and behind it if it reads the register loaded (stall_ld_hz: load data is not forwarded). Any other
     * instruction retires in its one cycle in writeback, and then 0 is no constraint. */
    int speculative = t.transfer + 1;
    t.hazard = s->load_rd && (op->rs1 == s->load_rd || op->rs2 == s->load_rd);
    if (t.hazard) speculative = later(speculative, 1);
    t.start = p->writeback ? later(speculative, 0) : speculative;
    ibex_execute(s, p, m, op, r, speculative, &t);
    uint32_t head = (r->pc + op->size) & ~3u;
    s->redirect_cause = 0, s->redirect_ready = 0;
    if (t.redirect != IBEX_NO_REDIRECT) {
        prefetch_redirect(&s->fetch, obi_fetch(IBEX_DEPTH), m, head, t.redirect);
        head = r->next_pc & ~3u;
        s->redirect_cause = (uint8_t)timing_cause_of(op);
        s->redirect_ready = (int16_t)later(t.redirect + 1 - t.retire, t.end - t.retire);
    } else if (t.end > t.retire) {
        s->redirect_cause = (uint8_t)timing_cause_of(op);
        s->redirect_ready = (int16_t)(t.end - t.retire);
    }
    s->ready = (int16_t)(t.end - t.retire);
    t.behind = later(t.transfer + 1, prefetch_asked(&s->fetch));
    prefetch_until(&s->fetch, obi_fetch(IBEX_DEPTH), m, head, t.end);
    prefetch_rebase(&s->fetch, obi_fetch(IBEX_DEPTH), t.retire, t.end);
    if (out) ibex_report(&before, p, op, &t, out);
    return (uint32_t)t.retire;
}
#endif
