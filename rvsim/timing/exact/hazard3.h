/* Exact timing of Hazard3 (Wren6991/Hazard3 @ 8272910), the two-port version on AHB.
 *
 * Three stages. F: fetch requests, a queue of two words, and the current instruction register; X: decode, execute and
 * the address phase of loads and stores; M: their data phase and traps. An instruction retires here when it leaves X, as
 * in the retire traces. X takes one instruction a cycle unless something below holds it back:
 *
 *   starved     the instruction is not yet complete in the instruction register              hazard3_decode.v d_starved
 *   load-use    the load in M produces a source register; store data is exempt               hazard3_core.v x_stall_on_raw
 *   data        the load or store in M waits for its data phase                              hazard3_core.v m_bus_stall
 *   muldiv      the sequential multiplier/divider is at work                                 hazard3_muldiv_seq.v
 *   redirect    a jump cannot be requested while an earlier fetch address waits for the bus  hazard3_frontend.v jump_target_rdy
 *
 * Only the front end needs stepping, and only while it does something: once it is full, or waits for the bus with
 * nothing else to do, any number of cycles is one subtraction (hazard3_idle). The front end, in halfwords:
 *
 *   bus --> in flight (one data phase; one more address may be held) --> queue (2 words) --> buffer (3 halfwords) --> X
 *
 * Wrong-path instructions never enter X (a branch is resolved in X and flushes what is behind it), so what was
 * fetched matters only by its length and by the predictor's marks.
 *
 * All of it follows the RTL's registers; each field names the registers it stands for.
 */
#ifndef RVSIM_HAZARD3_H
#define RVSIM_HAZARD3_H
#include "operation.h"

typedef struct {
    /* Configuration parameters of hdl/hazard3_config.vh. The model holds for EXTENSION_C = 1, EXTENSION_M = 1,
     * EXTENSION_ZIFENCEI = 1, REDUCED_BYPASS = 0, EXTENSION_ZCMP = 0; FAST_BRANCHCMP changes the clock, not the cycles. */
    uint8_t muldiv_unroll;    /* MULDIV_UNROLL: bits a cycle of the sequential multiplier/divider */
    uint8_t mul_fast;         /* MUL_FAST: mul has a multiplier of its own */
    uint8_t mul_faster;       /* MUL_FASTER: ... which delivers in X, not in M */
    uint8_t mulh_fast;        /* MULH_FAST: ... which also does mulh, mulhsu, mulhu */
    uint8_t branch_predictor; /* BRANCH_PREDICTOR: branch target buffer of one entry */
} hazard3_params;

/* Branch target buffer: the last mispredicted taken backward branch. Apart from the pipeline's state because, as with a
 * cache's contents, most blocks neither look it up nor change it (hazard3_btb_matters). */
typedef struct {
    uint32_t source;   /* btb_src_addr: the branch's address */
    uint32_t target;   /* btb_target_addr */
    uint8_t valid;     /* btb_valid */
    uint8_t wide;      /* btb_src_size: a 32-bit branch */
    uint8_t spare[2];
} hazard3_btb;

/* A fetched word in four bits: bits 0-1 the halfwords of it that are executed (1 or 2; 0: no word), bits 2-3 those of
 * them that belong to a branch predicted taken. */
enum { WORD_HALVES = 3, WORD_MARKS = 2, WORD_BITS = 4 };

enum { BUFFER_HALVES = 3 /* hwbuf and cir: one 32-bit instruction and a half */ };

typedef struct {
    uint32_t fetch_address; /* fetch_addr: next word to request, or the held one */
    uint16_t data_left;     /* cycles up to the end of the fetch data phase in flight; 0: none (pending_fetches) */
    uint16_t memory_left;   /* cycles for which M stays occupied, 0: free. M stalls X in all of them but the last */
    uint8_t memory_rd;      /* register that the occupant of M produces there (xm_rd if m_generating_result) */
    uint8_t memory_exclusive; /* occupant of M is lr.w or sc.w */
    uint8_t level;          /* halfwords in the buffer (buf_level) */
    uint8_t marks;          /* which of them belong to a branch predicted taken (cir_predbranch_reg) */
    uint8_t queue;          /* up to two words of WORD_BITS, the older in the low bits (fifo_valid_hw, fifo_predbranch) */
    uint8_t word;           /* the word in flight (mem_data_hwvld, mem_data_predbranch); 0: flushed (ctr_flush_pending) */
    uint8_t hold;           /* a fetch address waits for the data phase before it to end (mem_addr_hold) */
    uint8_t skip_low;       /* the next word is entered in its upper half (mem_aph_hwvld) */
    uint8_t overhang;       /* the next word ends the 32-bit branch predicted taken (btb_prev_start_of_overhanging) */
    uint8_t trap;           /* ecall, ebreak or mret is in M and will redirect (xm_except) */
    uint8_t redirect;       /* enum timing_cause that emptied the front end, CAUSES: none; for the report only */
    uint8_t spare;
    hazard3_btb btb;
} hazard3_state;

/* ---------------------------------------------------------------- front end */

static inline void hazard3_reset(hazard3_state *s, const hazard3_params *p, const timing_memory *m, uint32_t pc)
{
    (void)p, (void)m;
    *s = (hazard3_state){.fetch_address = pc & ~3u, .skip_low = pc >> 1 & 1, .redirect = CAUSES};
}

static inline int hazard3_sound(const hazard3_state *s)
{
    return s->level <= BUFFER_HALVES && s->word >> WORD_BITS == 0 && (s->queue & WORD_HALVES) < 3 && (s->queue >> WORD_BITS & WORD_HALVES) < 3 &&
           (s->queue & WORD_HALVES || !s->queue) && (s->word & WORD_HALVES) < 3 && s->redirect <= CAUSES;
}

/* Enters the word at `fetch_address` into its data phase and moves on: to the next word, or to the target where the
 * word ends a branch in the branch target buffer (hazard3_frontend.v, "Fetch request generation"). A branch that crosses
 * a word boundary is recognised by its first word and redirects after the second. */
static inline void hazard3_accept(hazard3_state *s, const timing_memory *m)
{
    const hazard3_btb *btb = &s->btb;
    uint32_t address = s->fetch_address;
    int low = !s->skip_low, high = 1, marks = 0, redirect = s->overhang;

    s->data_left = (uint16_t)(1 + (uint32_t)timing_fetch_wait(m, address));
    if (!btb->valid || ((btb->source ^ address) >> 2 && !s->overhang)) {
        s->word = (uint8_t)(low + high);
        s->fetch_address = address + 4;
        s->skip_low = s->overhang = 0;
        return;
    }
    int upper = btb->source >> 1 & 1, match = (btb->source ^ address) >> 2 == 0;
    if (match) {
        marks = upper ? 2 : btb->wide ? 3 : 1;
        /* The jump may have gone beyond a 16-bit branch in the lower half. */
        if (!(btb->wide && upper) && (btb->wide || upper || low)) redirect = 1;
    } else
        marks = 1; /* second half of the branch */
    if (redirect && upper == btb->wide) high = 0; /* the branch ends in the lower half */
    if (!low) marks >>= 1;
    s->word = (uint8_t)((low + high) | (marks & ((1 << (low + high)) - 1)) << WORD_MARKS);
    s->fetch_address = redirect ? btb->target & ~3u : address + 4;
    s->skip_low = redirect && btb->target & 2;
    s->overhang = match && btb->wide && upper;
}

/* A word enters the buffer only as a whole; the last halfword of room (hwbuf) can take only half a word. */
static inline int hazard3_fits(const hazard3_state *s)
{
    return s->queue && s->level + (s->queue & WORD_HALVES) <= BUFFER_HALVES;
}

/* The end of a cycle in which X takes `halves` halfwords and requests no jump. */
static inline void hazard3_clock(hazard3_state *s, const timing_memory *m, int halves)
{
    /* Room for the answer must be certain when a fetch is requested. The bus's answer of this same cycle is not looked at
     * (hazard3_frontend.v fetch_stall). */
    int request = s->hold || !(s->queue >> WORD_BITS || (s->queue && s->data_left));

    s->level = (uint8_t)(s->level - halves);
    s->marks = (uint8_t)(s->marks >> halves);
    if (s->data_left == 1) s->queue |= (uint8_t)(s->word << (s->queue ? WORD_BITS : 0));
    if (hazard3_fits(s)) { /* also straight from the bus, past the empty queue */
        s->marks |= (uint8_t)((s->queue >> WORD_MARKS & 3) << s->level);
        s->level = (uint8_t)(s->level + (s->queue & WORD_HALVES));
        s->queue >>= WORD_BITS;
    }
    if (s->data_left > 1) { /* AHB: the address phase ends with the data phase before it */
        s->data_left--;
        s->hold = (uint8_t)request;
    } else {
        s->hold = 0;
        if (request)
            hazard3_accept(s, m);
        else
            s->data_left = s->word = 0;
    }
}

/* The end of a cycle in which a jump to `target` is taken by the front end (not while an address is held): everything
 * fetched is flushed but for the first `keep` halfwords, the jump itself where it has to stay in X (cir_flush_behind). The
 * jump's own word is never looked up in the branch target buffer, unless its address has to be held. */
static inline void hazard3_redirect(hazard3_state *s, const timing_memory *m, uint32_t target, int keep)
{
    s->level = (uint8_t)keep;
    s->marks &= (uint8_t)((1 << keep) - 1);
    s->queue = s->word = s->overhang = 0;
    s->fetch_address = target & ~3u;
    s->skip_low = target >> 1 & 1;
    if (s->data_left > 1) {
        s->data_left--;
        s->hold = 1;
    } else {
        s->data_left = (uint16_t)(1 + (uint32_t)timing_fetch_wait(m, s->fetch_address));
        s->word = (uint8_t)(2 - s->skip_low);
        s->fetch_address += 4;
        s->skip_low = 0;
    }
}

/* Cycles for which the front end, left alone, does nothing but count the data phase in flight. */
static inline uint32_t hazard3_idle(const hazard3_state *s)
{
    if (hazard3_fits(s)) return 0;
    if (!s->data_left) return s->queue >> WORD_BITS ? UINT32_MAX : 0;
    return s->hold || s->queue ? s->data_left - 1u : 0;
}

static inline void hazard3_drain(hazard3_state *s, uint32_t cycles)
{
    if (s->memory_left > cycles)
        s->memory_left = (uint16_t)(s->memory_left - cycles);
    else
        s->memory_left = s->memory_rd = s->memory_exclusive = 0;
}

/* `cycles` cycles in which X takes nothing. */
static inline void hazard3_advance(hazard3_state *s, const timing_memory *m, uint32_t cycles)
{
    hazard3_drain(s, cycles);
    while (cycles) {
        uint32_t idle = hazard3_idle(s);
        if (!idle) {
            hazard3_clock(s, m, 0);
            cycles--;
            continue;
        }
        if (idle > cycles) idle = cycles;
        if (s->data_left) s->data_left = (uint16_t)(s->data_left - idle);
        cycles -= idle;
    }
}

/* Waits until the buffer holds `halves` halfwords; returns the cycles. */
static inline uint32_t hazard3_starve(hazard3_state *s, const timing_memory *m, int halves)
{
    uint32_t cycles = 0;
    while (s->level < halves) {
        uint32_t idle = hazard3_idle(s);
        if (!idle) idle = 1;
        hazard3_advance(s, m, idle);
        cycles += idle;
    }
    return cycles;
}

/* ---------------------------------------------------------------- execution */

/* Cycles beyond the first of the sequential multiplier/divider (hazard3_muldiv_seq.v): a cycle to take the operands, XLEN /
 * unroll iterations, and before and after them a cycle of sign correction where needed:
 *   before: a negative first operand, or a second operand to be negated (the divider subtracts by adding, so it wants
 *           a negative divisor; the multiplier a positive one). Without that, the cycle is the first iteration already.
 *   after:  quotient of operands with unlike signs, remainder of a negative dividend (both are always made); lower half of a
 *           product of unlike signs, and a further cycle if its negation carries into the upper half.
 * Documented as 18 or 19 for division at two bits a cycle, which leaves out the negation of the divisor; measured 19 or 20. */
static inline uint32_t hazard3_muldiv(const hazard3_params *p, int kind, uint32_t a, uint32_t b)
{
    int divide = kind == K_DIV || kind == K_DIVU || kind == K_REM || kind == K_REMU;
    int a_negative = (kind == K_MULH || kind == K_MULHSU || kind == K_DIV || kind == K_REM) && a >> 31;
    int b_negative = (kind == K_MULH || kind == K_DIV || kind == K_REM) && b >> 31;
    uint32_t cycles = 1 + 32u / p->muldiv_unroll;

    if (a_negative || b_negative != divide) cycles++;
    if (divide) return cycles + (a_negative || b_negative);
    if (a_negative == b_negative) return cycles;
    return cycles + 1 + (a * b == 0);
}

/* Cycles beyond the first that the instruction works in X. */
static inline uint32_t hazard3_work(const hazard3_params *p, const timing_memory *m, const timing_op *op, const retired *r)
{
    switch (op->kind) {
    case K_MUL:
        return p->mul_fast ? 0 : hazard3_muldiv(p, op->kind, r->rs1, r->rs2);
    case K_MULH: case K_MULHSU: case K_MULHU:
        return p->mul_fast && p->mulh_fast ? 0 : hazard3_muldiv(p, op->kind, r->rs1, r->rs2);
    case K_DIV: case K_DIVU: case K_REM: case K_REMU:
        return hazard3_muldiv(p, op->kind, r->rs1, r->rs2);
    case K_AMO: /* address and data phase of the read, then of the write, all from X (x_amo_phase); documented as 4 */
        return 3u + (uint32_t)timing_data_wait(m, r->address, 0) + (uint32_t)timing_data_wait(m, r->address, 1);
    default:
        return 0;
    }
}

/* What the instruction leaves behind in M as it leaves X. */
static inline void hazard3_enter_memory(hazard3_state *s, const hazard3_params *p, const timing_memory *m, const timing_op *op, const retired *r)
{
    s->memory_left = s->memory_rd = s->memory_exclusive = 0;
    switch (op->kind) {
    case K_LOAD: case K_LR:
        s->memory_left = (uint16_t)(1 + timing_data_wait(m, r->address, 0));
        s->memory_rd = op->rd;
        s->memory_exclusive = op->kind == K_LR;
        break;
    case K_STORE: case K_SC: /* an sc.w that the local monitor refuses makes no access: not modelled */
        s->memory_left = (uint16_t)(1 + timing_data_wait(m, r->address, 1));
        s->memory_rd = op->rd; /* success of sc.w comes with the answer */
        s->memory_exclusive = op->kind == K_SC;
        break;
    case K_MUL: case K_MULH: case K_MULHSU: case K_MULHU:
        if (p->mul_fast && !p->mul_faster && (op->kind == K_MUL || p->mulh_fast) && op->rd) {
            s->memory_left = 1; /* the product is made in M (m_fast_mul_result_vld) */
            s->memory_rd = op->rd;
        }
        break;
    case K_ECALL: case K_EBREAK: case K_MRET:
        s->trap = 1;
        break;
    default:
        break;
    }
}

/* Does X need what M is about to produce? The interlock compares the decoded rs1 and rs2 fields, which csr instructions do
 * not clear: csrrwi's immediate and the low bits of a CSR's number count as registers (hazard3_decode.v, RVOPC_CSRR*). */
static inline int hazard3_interlock(const hazard3_state *s, const timing_op *op)
{
    int rd = s->memory_rd, rs1 = op->rs1, rs2 = op->rs2;
    if (s->memory_exclusive && (op->kind == K_LR || op->kind == K_SC || op->kind == K_AMO)) return 1; /* AHB: exclusives do not overlap */
    if (!rd) return 0;
    if (op->kind == K_CSR) rs1 |= op->zimm, rs2 = op->csr & 31;
    return rd == rs1 || (rd == rs2 && op->kind != K_STORE); /* store data is forwarded in M */
}

/* Jumps that X requests: where to, and what the branch target buffer learns. */
static inline int hazard3_jumps(hazard3_state *s, const hazard3_params *p, const timing_op *op, const retired *r, uint32_t *target)
{
    uint32_t sequel = r->pc + op->size;
    switch (op->kind) {
    case K_JAL: case K_JALR:
        *target = r->next_pc;
        return 1;
    case K_FENCE_I:
        s->btb = (hazard3_btb){0};
        *target = sequel;
        return 1;
    case K_BRANCH:
        if (s->marks & 1) { /* predicted taken: the fetch has followed */
            if (r->taken) return 0;
            s->btb = (hazard3_btb){0};
            *target = sequel;
            return 1;
        }
        if (!r->taken) return 0;
        if (p->branch_predictor && op->backward) s->btb = (hazard3_btb){.source = r->pc, .target = r->next_pc, .valid = 1, .wide = op->size == 4};
        *target = r->next_pc;
        return 1;
    default:
        return 0;
    }
}

/* A jump request of the instruction in X: waits for a held fetch address, then empties the front end. Returns the cycles
 * before the one it leaves X in. The request does not wait for M: the jump then stays in X with its target being fetched. */
static inline uint32_t hazard3_jump(hazard3_state *s, const timing_memory *m, uint32_t target, int halves, uint32_t lost[CAUSES])
{
    uint32_t cycles = 0, wait = s->hold ? s->data_left : 0;
    if (wait) {
        hazard3_advance(s, m, wait);
        cycles += wait;
        lost[C_FETCH] += wait;
    }
    if (s->memory_left <= 1) {
        hazard3_redirect(s, m, target, 0);
        return cycles;
    }
    hazard3_redirect(s, m, target, halves);
    wait = s->memory_left - 1u;
    hazard3_drain(s, 1);
    hazard3_advance(s, m, wait - 1);
    lost[C_DATA] += wait;
    cycles += wait;
    hazard3_clock(s, m, halves);
    return cycles;
}

/* The trap's instruction is in M and takes the front end as soon as that can; X is empty meanwhile. */
static inline uint32_t hazard3_enter_trap(hazard3_state *s, const timing_memory *m, uint32_t target)
{
    uint32_t wait = s->hold ? s->data_left : 0;
    hazard3_advance(s, m, wait);
    hazard3_redirect(s, m, target, 0);
    s->btb = (hazard3_btb){0};
    s->trap = 0;
    s->redirect = C_OTHER;
    return wait + 1;
}

/* A 32-bit instruction of which only one half is marked: code was entered at another halfword than the predictor saw. X
 * jumps to the instruction itself (hazard3_decode.v partial_predicted_branch). That ends it where the jump's own word is
 * the marked one and is not looked up; else it is marked again and the RTL never gets on (seen in simulation, for instance a
 * 16-bit backward branch in the second half of a 32-bit instruction which crosses a word boundary). No compiler makes such
 * code; the model gives up marking after HAZARD3_REFETCHES. */
enum { HAZARD3_REFETCHES = 4 };

static inline int hazard3_half_marked(const hazard3_state *s, int halves)
{
    return halves == 2 && ((s->marks ^ s->marks >> 1) & 1);
}

static inline uint32_t hazard3_refetch(hazard3_state *s, const timing_memory *m, uint32_t pc, uint32_t lost[CAUSES])
{
    if (s->marks & 1) s->btb = (hazard3_btb){0};
    uint32_t cycles = hazard3_jump(s, m, pc, 2, lost) + 1;
    hazard3_drain(s, 1);
    lost[C_BRANCH]++;
    s->redirect = C_BRANCH;
    return cycles;
}

/* Waits for the instruction to be complete. The flushed front end costs the jump a cycle, two where the target is a 32-bit
 * instruction that crosses a word boundary; what is longer is the memory's. */
static inline uint32_t hazard3_decode(hazard3_state *s, const timing_memory *m, const timing_op *op, const retired *r, uint32_t lost[CAUSES])
{
    uint32_t cycles = hazard3_starve(s, m, op->size >> 1), own = 0;
    if (s->redirect != CAUSES) {
        own = 1u + (op->size == 4 && r->pc & 2);
        if (own > cycles) own = cycles;
        lost[s->redirect] += own;
        s->redirect = CAUSES;
    }
    lost[C_FETCH] += cycles - own;
    return cycles;
}

static inline uint32_t hazard3_step(hazard3_state *s, const hazard3_params *p, const timing_memory *m, const timing_op *op,
                                    const retired *r, timing_report *out)
{
    uint32_t lost[CAUSES] = {0}, cycles = 0, decode, wait, target, behind;
    int halves = op->size >> 1;

    if (s->trap) {
        cycles = hazard3_enter_trap(s, m, r->pc);
        lost[C_OTHER] += cycles;
    }
    cycles += hazard3_decode(s, m, op, r, lost);
    for (int i = 0; i < HAZARD3_REFETCHES && hazard3_half_marked(s, halves); i++) {
        cycles += hazard3_refetch(s, m, r->pc, lost);
        cycles += hazard3_decode(s, m, op, r, lost);
    }
    behind = decode = cycles + 1;

    if (s->memory_left && hazard3_interlock(s, op)) {
        wait = s->memory_left;
        hazard3_advance(s, m, wait);
        lost[C_DATA] += wait - 1;
        lost[C_LOAD_USE]++;
        cycles += wait;
    }

    wait = hazard3_work(p, m, op, r);
    if (wait) {
        if (op->kind == K_AMO && s->memory_left > 1) { /* its address phase waits for the bus; the divider does not */
            uint32_t busy = s->memory_left - 1u;
            hazard3_advance(s, m, busy);
            lost[C_DATA] += busy;
            cycles += busy;
        }
        hazard3_advance(s, m, wait);
        lost[op->kind == K_AMO ? C_DATA : op->kind == K_MUL || op->kind == K_MULH || op->kind >= K_MULHSU ? C_MUL : C_DIV] += wait;
        cycles += wait;
    }

    if (hazard3_jumps(s, p, op, r, &target)) {
        behind = cycles + 1 + (s->hold ? s->data_left : 0);
        cycles += hazard3_jump(s, m, target, halves, lost);
        s->redirect = op->kind == K_BRANCH ? C_BRANCH : C_JUMP;
    } else {
        if (s->memory_left > 1) {
            wait = s->memory_left - 1u;
            hazard3_advance(s, m, wait);
            lost[C_DATA] += wait;
            cycles += wait;
        }
        hazard3_clock(s, m, halves);
    }
    hazard3_enter_memory(s, p, m, op, r);
    cycles++;

    if (out) {
        out->seen = (int32_t)cycles;
        for (int i = 0; i < CAUSES; i++) out->lost[i] = lost[i];
        if (out->staged) {
            timing_no_stages(out, 1);
            out->stage[1] = (int32_t)decode; /* decode and execution are one stage */
            out->stage[2] = (int32_t)cycles + 1;
            out->end = out->stage[2] + later(s->memory_left, 1);
            out->behind = s->trap ? out->stage[2] : (int32_t)behind; /* a trap takes the front end from M */
        }
    }
    return cycles;
}

/* ---------------------------------------------------------------- for memoisation */

/* Words by which fetching can run ahead of the instruction in X: buffer, queue, in flight. */
enum { HAZARD3_AHEAD = 4 * (2 + 2 + 1 + 1) };

/* Can the branch target buffer's entry be looked up with success while the block [start, end), followed by `next`, is
 * executed from state s? If not, the block's cost does not depend on it, and the entry survives unless the block replaces
 * it. (The successor's words are fetched within the block where its jump has to wait for M.) */
static inline int hazard3_btb_matters(const hazard3_state *s, uint32_t start, uint32_t end, uint32_t next)
{
    uint32_t word = s->btb.source & ~3u;
    start &= ~3u, next &= ~3u;
    return s->btb.valid && (s->overhang || word - start < end - start + HAZARD3_AHEAD || word - next < HAZARD3_AHEAD ||
                            word - s->fetch_address < HAZARD3_AHEAD);
}
#endif
