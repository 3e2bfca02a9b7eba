/* Exact timing of CV32E40P (COREV_PULP = 0, no FPU): stages IF, ID, EX, WB. Sources: RTL of openhwgroup/cv32e40p @ 6033d2b1 (file and
 * signal named at each rule), docs/source/pipeline.rst, and the RTL cycle counts of shared/rtl-cycles ("measured").
 *
 * Vocabulary, for instruction i:
 *   transfer  cycle in which it goes from the aligner into ID (if_valid & instr_valid)
 *   leave     cycle in which it leaves ID (id_valid); taken as its retirement, as the data's traces do
 *   end       last cycle in EX (ex_ready)
 * WB is not ready while a data response is outstanding and not arriving, and then EX is not ready either, whatever it holds
 * (cv32e40p_ex_stage.sv, ex_ready_o): except for a branch, which leaves EX at once.
 */
#ifndef RVSIM_CV32E40P_H
#define RVSIM_CV32E40P_H
#include "obi_fetch.h"

typedef struct {
    uint8_t mulh;             /* cycles in EX; mul takes one */
    uint8_t div_base;         /* and a cycle for each leading zero (signed, negative: one, less one) of the divisor */
    uint8_t flush;            /* cycles from the end in EX of a flushing instruction to IF going on */
} cv32e40p_params;

enum { CV32E40P_DEPTH = 2 };
/* At most two data requests are outstanding (DEPTH of cv32e40p_load_store_unit.sv), but the second half of a split access is requested,
 * at a time already known, when the response that its first half waited for has come: three times to keep. */
enum { CV32E40P_RESPONSES = 3, CV32E40P_NEWEST = CV32E40P_RESPONSES - 1 };

/* What the instruction before was, as far as it matters to the next one in ID. */
enum { CV_LOAD = 1, CV_BRANCH = 2, CV_OWN_STALL = 4, CV_REDIRECT = 8 };

typedef struct {               /* times relative to the last departure from ID */
    prefetch fetch;            /* head: the next word to be taken by the aligner */
    int16_t halted;            /* IF takes nothing before this cycle (halt_if) */
    int16_t end;               /* of the instruction before */
    int16_t response[CV32E40P_RESPONSES]; /* data responses to come, the newest last; 0: none */
    uint8_t load_rd[CV32E40P_RESPONSES];  /* register that each of them loads; 0: none */
    uint8_t alu_rd;            /* register that the instruction before writes from EX */
    uint8_t last_load_rd;      /* register of the last load, 0 also for x0: with CV_LOAD or response[] it is in EX or WB */
    uint8_t flags;             /* CV_* of the instruction before */
    uint8_t loads;             /* bit i: response[i] is a load's */
    uint8_t redirect_cause, end_cause; /* for the report: why IF stood still, and what the instruction before did in EX */
    uint8_t padding;
    int16_t redirect_ready;
} cv32e40p_state;

static inline void cv32e40p_reset(cv32e40p_state *s, const cv32e40p_params *p, const timing_memory *m, uint32_t entry)
{
    (void)p, (void)m, (void)entry;
    memset(s, 0, sizeof *s);
    obi_reset(&s->fetch, CV32E40P_DEPTH);
    s->flags = CV_REDIRECT;
}

static inline int cv32e40p_sound(const cv32e40p_state *s)
{
    int far = s->halted > -PREFETCH_LONG_AGO || s->end > -PREFETCH_LONG_AGO || s->end < PREFETCH_LONG_AGO;
    for (int i = 0; i < CV32E40P_RESPONSES; i++) far |= s->response[i] > -PREFETCH_LONG_AGO || s->response[i] < PREFETCH_LONG_AGO;
    return prefetch_sound(&s->fetch) && !far && s->redirect_cause < CAUSES && s->end_cause < CAUSES;
}

typedef struct {
    int transfer, valid, hazard, jump, leave, end, redirect, request;
    uint32_t head; /* address of the word that is first in the FIFO */
} cv32e40p_times;

enum { CV32E40P_NO_REDIRECT = -(1 << 15) };

/* First cycle from `time` on in which WB is ready: nothing outstanding, or a response arriving (lsu_ready_wb_o). */
static inline int cv32e40p_wb_ready(const cv32e40p_state *s, int time)
{
    for (int i = 0; i < CV32E40P_RESPONSES; i++)
        if (time <= s->response[i]) return s->response[i];
    return time;
}

/* First cycle from `time` on in which IF can hand something on. In the cycle in which the instruction before leaves ID it can, and
 * afterwards once EX is ready, ID being empty. The empty ID still decodes what it held, so that the hazard of a load, or jalr, upon the
 * register that it writes itself (CV_OWN_STALL) keeps ID closed as long as that instruction is in EX (load_stall_o and jr_stall_o do not
 * look at instr_valid_i). */
static inline int cv32e40p_slot(const cv32e40p_state *s, int time)
{
    time = later(time, s->halted);
    if (time <= 0) return 0;
    time = later(time, s->end + !!(s->flags & CV_OWN_STALL));
    return time > s->end ? cv32e40p_wb_ready(s, time) : time;
}

/* cv32e40p_aligner.sv. A word leaves the FIFO with the first of its half-words that is used; the upper half is kept in the aligner. Yet an
 * upper half that is an instruction waits for the next word to be there (if_ready needs fetch_valid, also in MISALIGNED32), and
 * leaves it there. A jump to the upper half of a word (BRANCH_MISALIGNED) takes that word in a cycle of its own if the instruction is
 * a 32-bit one. */
static inline void cv32e40p_take(cv32e40p_state *s, const timing_memory *m, const timing_op *op, uint32_t pc, cv32e40p_times *t)
{
    int jumped = s->flags & CV_REDIRECT, upper = pc & 2;
    t->head = (pc & ~3u) + (upper && !jumped ? 4 : 0); /* the aligner has the word of an upper half */
    t->valid = prefetch_come(&s->fetch, obi_fetch(CV32E40P_DEPTH), m, t->head, 0);
    if (upper && jumped && op->size == 4) {
        int taken = cv32e40p_slot(s, t->valid);
        prefetch_take(&s->fetch, obi_fetch(CV32E40P_DEPTH), m, t->head, taken);
        t->head += 4;
        t->valid = later(prefetch_come(&s->fetch, obi_fetch(CV32E40P_DEPTH), m, t->head, 0), taken + 1);
    }
    t->transfer = cv32e40p_slot(s, t->valid);
    if (upper && !jumped && op->size == 2) return;
    prefetch_take(&s->fetch, obi_fetch(CV32E40P_DEPTH), m, t->head, t->transfer);
    t->head += 4;
}

static inline int cv32e40p_writes_from_ex(const timing_op *op)
{
    switch (op->kind) {
    case K_ALU: case K_SHIFT: case K_MUL: case K_MULH: case K_MULHSU: case K_MULHU: case K_DIV: case K_DIVU: case K_REM: case K_REMU: case K_JAL: case K_JALR:
    case K_CSR: return 1;
    default: return 0;
    }
}

static inline int cv32e40p_reads(const timing_op *op, int reg) { return reg && (op->rs1 == reg || op->rs2 == reg); }

/* A load's register is read, or written from EX (x0 counts there): cv32e40p_controller.sv, load_stall_o. */
static inline int cv32e40p_conflicts(const timing_op *op, int load_rd)
{
    return cv32e40p_reads(op, load_rd) || (op->rd == load_rd && cv32e40p_writes_from_ex(op));
}

/* First cycle from `time` on in which a jalr has its register in the register file: what EX or WB is about to write is not
 * forwarded to the target's adder (jr_stall_o). */
static inline int cv32e40p_jalr(const cv32e40p_state *s, const timing_op *op, int time)
{
    int reg = op->rs1;
    if (!reg) return time;
    if (reg == s->alu_rd) time = later(time, s->end + 1);
    for (int i = 0; i < CV32E40P_RESPONSES; i++)
        if (reg == s->load_rd[i]) time = later(time, s->response[i] + 1);
    return time;
}

/* When an instruction that is in ID from `time` on leaves it: EX ready, and no hazard. */
static inline int cv32e40p_leave(const cv32e40p_state *s, const timing_op *op, int time, cv32e40p_times *t)
{
    if (s->flags & CV_LOAD && cv32e40p_conflicts(op, s->last_load_rd)) t->hazard = 1, time = later(time, s->end + 1);
    if (time > s->end) return cv32e40p_wb_ready(s, time);
    /* Behind a branch EX is ready though WB may still wait for a load. */
    if (s->flags & CV_BRANCH && s->response[CV32E40P_NEWEST] > s->end && s->loads >> CV32E40P_NEWEST && cv32e40p_conflicts(op, s->last_load_rd)) {
        t->hazard = 1;
        return cv32e40p_wb_ready(s, s->end);
    }
    return s->end;
}

/* Keeps a response for those that come behind. */
static inline void cv32e40p_expect(cv32e40p_state *s, const timing_op *op, int response)
{
    int load = op->kind != K_STORE;
    for (int i = 1; i < CV32E40P_RESPONSES; i++) s->response[i - 1] = s->response[i], s->load_rd[i - 1] = s->load_rd[i];
    s->response[CV32E40P_NEWEST] = (int16_t)response, s->load_rd[CV32E40P_NEWEST] = load ? op->rd : 0;
    s->loads = (uint8_t)(s->loads >> 1 | load << CV32E40P_NEWEST);
}

/* One bus access of the load or store that is in EX from `time` on: the request goes out at once (no more than one earlier response can
 * be outstanding there), and the access leaves EX with it if none is, else with the earlier response (cv32e40p_load_store_unit.sv,
 * trans_valid, lsu_ready_ex_o). */
static inline int cv32e40p_access(cv32e40p_state *s, const timing_memory *m, const timing_op *op, uint32_t address, int time)
{
    int end = cv32e40p_wb_ready(s, time);
    int response = time + obi_data_latency(m, address, op->kind == K_STORE);
    cv32e40p_expect(s, op, later(response, s->response[CV32E40P_NEWEST] + 1));
    return end;
}

/* cv32e40p_alu.sv and cv32e40p_alu_div.sv: the divisor is shifted to the dividend's top first. */
static inline int cv32e40p_division(const cv32e40p_params *p, const timing_op *op, uint32_t divisor)
{
    int is_signed = op->kind == K_DIV || op->kind == K_REM, negative = is_signed && divisor >> 31;
    if (negative) divisor = ~divisor;
    return p->div_base - negative + (divisor ? __builtin_clz(divisor) : 32);
}

/* CSRs whose access empties the pipeline, reads too: all but these (cv32e40p_decoder.sv, csr_status_o). */
static inline int cv32e40p_csr_flushes(const timing_op *op)
{
    switch (op->csr) {
    case 0x301: case 0x304: case 0x340: case 0x343: case 0x344:                         /* misa, mie, mscratch, mtval, mip */
    case 0x7a0: case 0x7a1: case 0x7a2: case 0x7a3: case 0x7a4: case 0x7a8: case 0x7aa: /* triggers */
    case 0xf11: case 0xf12: case 0xf13: case 0xf14: return 0;                           /* identification */
    default: return 1;
    }
}

static inline int cv32e40p_cycles(const cv32e40p_params *p, const timing_op *op, const retired *r)
{
    switch (op->kind) {
    case K_MULH: case K_MULHSU: case K_MULHU: return p->mulh;
    case K_DIV: case K_DIVU: case K_REM: case K_REMU: return cv32e40p_division(p, op, r->rs2);
    default: return 1;
    }
}

static inline enum timing_cause cv32e40p_cause(const timing_op *op)
{
    switch (op->kind) {
    case K_MUL: case K_MULH: case K_MULHSU: case K_MULHU: return C_MUL;
    case K_DIV: case K_DIVU: case K_REM: case K_REMU: return C_DIV;
    case K_BRANCH: return C_BRANCH;
    case K_JAL: case K_JALR: return C_JUMP;
    case K_CSR: return C_CSR;
    default: return C_OTHER;
    }
}

/* EX, from the cycle behind `t->leave` on; and where fetching goes on. */
static inline void cv32e40p_execute(cv32e40p_state *s, const cv32e40p_params *p, const timing_memory *m, const timing_op *op,
                                    const retired *r, cv32e40p_times *t)
{
    int start = t->leave + 1;
    switch (op->kind) {
    case K_LOAD: case K_STORE: case K_LR: case K_SC: case K_AMO:
        t->request = start;
        t->end = cv32e40p_access(s, m, op, r->address, start);
        if (obi_splits(op, r->address)) t->end = cv32e40p_access(s, m, op, (r->address & ~3u) + 4, t->end + 1);
        return;
    case K_BRANCH:
        t->end = start;
        if (r->taken) t->redirect = start;
        return;
    default:
        t->end = cv32e40p_wb_ready(s, start + cv32e40p_cycles(p, op, r) - 1);
    }
    switch (op->kind) {
    case K_JAL: case K_JALR: t->redirect = t->jump; break;
    case K_FENCE: case K_FENCE_I: case K_ECALL: case K_EBREAK: t->redirect = t->end + 1; break; /* FLUSH_WB */
    case K_MRET: t->redirect = t->end + 2; break;                                               /* XRET_JUMP */
    default: break;
    }
}

static inline void cv32e40p_report(const cv32e40p_state *before, const timing_op *op, const cv32e40p_times *t, timing_report *out)
{
    int mark = 1;
    memset(out->lost, 0, sizeof out->lost);
    timing_charge(out, &mark, sooner(t->transfer, before->redirect_ready) + 1, (enum timing_cause)before->redirect_cause);
    timing_charge(out, &mark, sooner(t->transfer, t->valid) + 1, C_FETCH);
    timing_charge(out, &mark, t->transfer + 1, (enum timing_cause)before->end_cause);
    if (op->kind == K_JALR) timing_charge(out, &mark, t->jump, C_JUMP);
    if (t->hazard) timing_charge(out, &mark, t->leave, C_LOAD_USE);
    timing_charge(out, &mark, t->leave, (enum timing_cause)before->end_cause);
    out->seen = t->request == CV32E40P_NO_REDIRECT ? t->leave + 1 : t->request;
}

/* `s`: behind the instruction, its times not yet relative to it. */
static inline void cv32e40p_stages(const cv32e40p_state *s, const timing_op *op, const retired *r, const cv32e40p_times *t, timing_report *out)
{
    timing_no_stages(out, 2);
    out->stage[1] = t->transfer + 1;
    out->stage[2] = t->leave + 1;
    if (op->kind != K_BRANCH) out->stage[3] = t->end + 1; /* a branch leaves EX at once */
    out->end = t->request != CV32E40P_NO_REDIRECT ? s->response[CV32E40P_NEWEST] + 1 : t->end + 1 + (op->kind != K_BRANCH);
    /* The upper half of a word is in the aligner already. */
    out->behind = t->redirect == CV32E40P_NO_REDIRECT && r->next_pc & 2 ? t->transfer + 1 : later(t->transfer + 1, prefetch_asked(&s->fetch));
}

/* What the next instruction has to know of this one, relative to its departure. */
static inline void cv32e40p_remember(cv32e40p_state *s, const cv32e40p_params *p, const timing_op *op, const cv32e40p_times *t)
{
    int load = op->kind == K_LOAD || op->kind == K_LR || op->kind == K_AMO, flushes = op->kind == K_CSR && cv32e40p_csr_flushes(op);
    int own = op->rd && op->rd == op->rs1 && (load || op->kind == K_JALR);
    if (load) s->last_load_rd = op->rd;
    s->alu_rd = cv32e40p_writes_from_ex(op) ? op->rd : 0;
    s->flags = (uint8_t)(load * CV_LOAD | (op->kind == K_BRANCH) * CV_BRANCH | own * CV_OWN_STALL);
    s->end = (int16_t)(t->end - t->leave);
    s->halted = (int16_t)(flushes ? s->end + p->flush : 0);
    s->redirect_ready = s->halted;
    s->redirect_cause = (uint8_t)(flushes ? C_CSR : 0);
    s->end_cause = (uint8_t)((timing_multiplies(op) && op->kind != K_MUL) || timing_divides(op) ? cv32e40p_cause(op) : C_DATA);
    for (int i = 0; i < CV32E40P_RESPONSES; i++) {
        s->response[i] = (int16_t)(s->response[i] - t->leave);
        if (s->response[i] <= 0) s->response[i] = 0, s->load_rd[i] = 0, s->loads &= (uint8_t)~(1 << i);
    }
    if (!s->loads && !load) s->last_load_rd = 0;
    prefetch_rebase(&s->fetch, obi_fetch(CV32E40P_DEPTH), t->leave, t->leave);
}

static inline uint32_t cv32e40p_step(cv32e40p_state *s, const cv32e40p_params *p, const timing_memory *m, const timing_op *op,
                                     const retired *r,
                                 timing_report *out)
{
    const cv32e40p_state before = {.redirect_cause = s->redirect_cause, .redirect_ready = s->redirect_ready, .end_cause = s->end_cause}; /* for the report */
    cv32e40p_times t = {.redirect = CV32E40P_NO_REDIRECT, .request = CV32E40P_NO_REDIRECT};
    cv32e40p_take(s, m, op, r->pc, &t);
    t.jump = t.transfer + 1;
    if (op->kind == K_JALR) t.jump = cv32e40p_jalr(s, op, t.jump);
    t.leave = cv32e40p_leave(s, op, t.jump, &t);
    cv32e40p_execute(s, p, m, op, r, &t);
    if (t.redirect != CV32E40P_NO_REDIRECT) {
        prefetch_redirect(&s->fetch, obi_fetch(CV32E40P_DEPTH), m, t.head, t.redirect);
        t.head = r->next_pc & ~3u;
    }
    if (out && out->staged) cv32e40p_stages(s, op, r, &t, out);
    prefetch_until(&s->fetch, obi_fetch(CV32E40P_DEPTH), m, t.head, t.leave);
    cv32e40p_remember(s, p, op, &t);
    if (t.redirect != CV32E40P_NO_REDIRECT) {
        s->flags |= CV_REDIRECT;
        s->redirect_cause = (uint8_t)cv32e40p_cause(op);
        s->redirect_ready = (int16_t)(t.redirect + 1 - t.leave);
    }
    if (out) cv32e40p_report(&before, op, &t, out);
    return (uint32_t)t.leave;
}
#endif
