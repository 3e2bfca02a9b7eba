/* Exact timing of PicoRV32 (YosysHQ/picorv32 @ 87c89acc, picorv32.v), configuration COMPRESSED_ISA=1 ENABLE_FAST_MUL=1 ENABLE_DIV=1
 * BARREL_SHIFTER=1, other parameters default (ENABLE_REGS_DUALPORT=1, TWO_CYCLE_ALU=0, TWO_CYCLE_COMPARE=0, LATCHED_MEM_RDATA=0).
 *
 * The core has no pipeline: one state machine (`cpu_state`) leaves `fetch` for one instruction at a time, beside a memory state
 * machine (`mem_state`) with one port and one transfer at a time. What overlaps is the fetch of the instruction after it
 * (`mem_do_prefetch`, from the cycle after the launch on). An instruction retires (rvfi_valid) where the next one is launched
 * (`launch_next_insn`), so all times below are relative to the instruction's own launch (cycle 0) and its cost is the time of
 * the launch after it. Nothing outlives a launch but the upper half of the last fetched word (`mem_16bit_buffer`), and that is
 * kept always when the next instruction follows in sequence and never after a jump: the model has no state.
 *
 *   cycle 0  fetch    launch; mem_do_prefetch set (not by jal, jalr)
 *         1  ld_rs1   registers read; the memory machine (mem_state 0) puts up the request
 *         2  exec     mem_valid; mem_ready `ready` cycles later ends the transfer and, in the cycle after, launches the next
 */
#ifndef RVSIM_PICORV32_H
#define RVSIM_PICORV32_H
#include "operation.h"

typedef struct {
    uint8_t multiply;        /* cycle of pcpi_ready: valid 2, active[0] 3, active[1] 4 (picorv32_pcpi_fast_mul; measured 6 = 4 + 2) */
    uint8_t divide;          /* cycle of pcpi_ready: valid 2, instr_* 3, wait = start 4, 33 cycles of quotient_msk from 5, 38 (measured 40 = 38 + 2) */
    uint8_t csr_request;     /* cycle of mem_do_rinst: rdcycle & co. leave ld_rs1 for `fetch` without asking: 3 (measured: rdcycle 4) */
    uint8_t jalr_request;    /* jalr prefetches nothing: ld_rs1 1, exec 2, fetch 3 sets mem_do_rinst: 4 (README.md: jalr 6; measured 6 at la0) */
    uint8_t jal_request;     /* jal is done at the launch: 1 (README.md: 3; measured 3 at la0) */
} picorv32_params;

typedef struct { uint8_t none; } picorv32_state; /* see above */

static inline void picorv32_reset(picorv32_state *s, const picorv32_params *p, const timing_memory *m, uint32_t entry)
{
    (void)p, (void)m, (void)entry;
    s->none = 0;
}

static inline int picorv32_sound(const picorv32_state *s) { return s->none == 0; }

enum { PICORV32_EXECUTE = 2 /* cycle of exec, stmem, ldmem; mem_do_rinst is up from here on */ };

/* Last transfer of the fetch of a jump's target, which the memory machine begins (mem_state 0) in cycle `begin`: nothing is kept
 * from before (clear_prefetched_high_word), and a 32-bit instruction in an upper half takes two transfers (mem_la_secondword),
 * between which mem_valid stays up. */
static inline int picorv32_fetch_target(const timing_memory *m, int begin, uint32_t pc, int size)
{
    int done = begin + 1 + timing_fetch_wait(m, pc);
    if ((pc & 2) && size == 4) done += 1 + timing_fetch_wait(m, pc + 2);
    return done;
}

/* Last transfer of the fetch of the next instruction in sequence, when the core asks for it (mem_do_rinst) from cycle `request`
 * on. In an upper half, the kept halfword is used only then: it is the instruction, or its second word is fetched next. */
static inline int picorv32_fetch_next(const timing_memory *m, int request, uint32_t pc, int wide)
{
    if (pc & 2) return wide ? request + 1 + timing_fetch_wait(m, pc + 2) : request;
    int done = PICORV32_EXECUTE + timing_fetch_wait(m, pc);
    return done > request ? done : request; /* mem_state 3 holds a prefetched word */
}

/* Cycle in which the memory machine begins the fetch of a taken branch's target: after the fetch of the instruction behind the
 * branch, which began before the comparison. `wide` (bit 0: the halfword behind the branch, bit 1: the one after it) tells
 * where 32-bit instructions would begin (low bits 11). */
static inline int picorv32_taken_branch(const timing_memory *m, uint32_t behind, int wide,
                                        uint32_t target, int target_size)
{
    int done = picorv32_fetch_next(m, PICORV32_EXECUTE, behind, wide & 1);
    /* From cycle 3 on `next_pc` is the target already. Where that is an upper half, mem_done looks at the upper half of the word
     * just come (mem_la_firstword): if it looks like the first half of a 32-bit instruction, the transfer does not count, the
     * core stays in exec, and the target is fetched twice. Not while the second word of a straddling instruction comes. */
    int misled = (target & 2) && !(behind & 2) && (wide & 2) && done > PICORV32_EXECUTE;
    return (misled ? picorv32_fetch_target(m, done + 1, target, target_size) : done) + 1;
}

/* States of `cpu_state`: jal is done with its launch, multiplier and divider (PCPI) keep ld_rs1 waiting, CSRs are read there. Then it is `fetch`
 * again: of the next one, and this one's result is written until that is launched. */
__attribute__((noinline, cold)) static void picorv32_stages(const picorv32_params *p, const timing_memory *m, const timing_op *op, const retired *r, int done, int launch,
                                   timing_report *out)
{
    int end = PICORV32_EXECUTE + 1, state = 2;
    if (op->kind == K_LOAD) end = launch, state = 3;
    else if (op->kind == K_STORE) end = launch, state = 4;
    else if (op->kind == K_BRANCH) end = r->taken ? picorv32_taken_branch(m, r->pc + op->size, op->following, r->next_pc, r->next_size) : done + 1;
    else if (op->kind == K_JAL) end = 1, state = 0;
    else if (op->kind == K_CSR) end = PICORV32_EXECUTE, state = 0;
    else if (timing_multiplies(op)) end = p->multiply + 1, state = 0;
    else if (timing_divides(op)) end = p->divide + 1, state = 0;
    timing_no_stages(out, 1);
    if (op->kind != K_JAL) out->stage[1] = 1;
    if (state) out->stage[state] = PICORV32_EXECUTE;
    out->stage[5] = out->behind = end;
    out->end = launch + 1;
}

/* Cost of one instruction. */
static inline uint32_t picorv32_step(picorv32_state *s, const picorv32_params *p, const timing_memory *m, const timing_op *op,
                                     const retired *r, timing_report *out)
{
    (void)s;
    const uint32_t behind = r->pc + op->size;
    int request = PICORV32_EXECUTE, done, launch;
    enum timing_cause cause = C_OTHER;

    switch (op->kind) {
    case K_JAL:
        done = picorv32_fetch_target(m, p->jal_request, r->next_pc, r->next_size), cause = C_JUMP;
        break;
    case K_JALR:
        done = picorv32_fetch_target(m, p->jalr_request, r->next_pc, r->next_size), cause = C_JUMP;
        break;
    case K_BRANCH:
        if (r->taken) {
            int begin = picorv32_taken_branch(m, behind, op->following, r->next_pc, r->next_size);
            done = picorv32_fetch_target(m, begin, r->next_pc, r->next_size), cause = C_BRANCH;
            break;
        }
        /* fall through */
    default:
        if (timing_multiplies(op)) request = p->multiply + 1, cause = C_MUL;
        else if (timing_divides(op)) request = p->divide + 1, cause = C_DIV;
        else if (op->kind == K_CSR) request = p->csr_request, cause = C_CSR;
        done = picorv32_fetch_next(m, request, behind, op->following & 1);
    }
    launch = done + 1;
    if (op->kind == K_LOAD || op->kind == K_STORE) /* after the fetch: mem_do_rdata/wdata 1, mem_valid 2, launch 3 cycles on */
        launch = done + 3 + timing_data_wait(m, r->address, op->kind == K_STORE);

    if (out) {
        /* Least cost of any instruction: 3 cycles, of which 2 are states of the machine (C_OTHER). */
        memset(out->lost, 0, sizeof out->lost);
        out->seen = launch;
        out->lost[C_OTHER] = 2;
        if (cause == C_OTHER) {
            out->lost[C_FETCH] = done + 1 - 3;
            out->lost[C_DATA] = launch - (done + 1);
        } else
            out->lost[cause] = launch - 3;
        if (out->staged) picorv32_stages(p, m, op, r, done, launch, out);
    }
    return (uint32_t)launch;
}
#endif
