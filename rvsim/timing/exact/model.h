/* The models by name: how to make one and take a step, and which numbers it wants (a core's table [pipeline]). */
#ifndef RVSIM_MODEL_H
#define RVSIM_MODEL_H
#include "ibex.h"
#include "cv32e40p.h"
#include "hazard3.h"
#include "picorv32.h"
#include "vexriscv.h"
#include "inorder.h"

typedef struct {                      /* a uint8_t of the params */
    const char *name;
    uint16_t offset;
    uint8_t low, high;
    const char *words;                /* what it is called from 0 on, with spaces between; NULL for a number */
} timing_field;

typedef struct {
    const char *name;
    size_t state_size, memory_size;   /* memory_size: what depends on addresses, zeros at first */
    const char *stages;               /* names of timing_report.stage, with spaces between them */
    const timing_field *fields;       /* ends with a name that is NULL */
    void (*reset)(void *state, void *memory, const void *params, const timing_memory *m, uint32_t entry);
    int (*sound)(const void *state);  /* whether bytes from outside can be a state: no step from it leaves the model */
    uint32_t (*step)(void *state, void *memory, const void *params, const timing_memory *m, const timing_op *op, const retired *r, timing_report *out);
    const char *(*prepare)(void *params); /* completes numbers that are each within their range; why they do not go together, or NULL. May be NULL */
    int (*remembers)(const void *params); /* whether `memory` changes the cycles; NULL: where there is any */
} timing_model;

enum { TIMING_PARAMS = 64, TIMING_STATE = 256 }; /* bytes: no model's are more */

/* A model's functions as `timing_model` has them; `arguments` of its step. */
#define WRAPPED(core, arguments)                                                                                            \
    _Static_assert(sizeof(core##_state) <= TIMING_STATE && sizeof(core##_params) <= TIMING_PARAMS, "too large");             \
    static void core##_reset_any(void *s, void *c, const void *p, const timing_memory *m, uint32_t entry)                    \
    {                                                                                                                        \
        (void)c;                                                                                                             \
        core##_reset(s, p, m, entry);                                                                                        \
    }                                                                                                                        \
    static int core##_sound_any(const void *s) { return core##_sound(s); }                                                   \
    static uint32_t core##_step_any(void *s, void *c, const void *p, const timing_memory *m, const timing_op *op, const retired *r, timing_report *out) \
    {                                                                                                                        \
        (void)c;                                                                                                             \
        return core##_step arguments;                                                                                        \
    }
#define STATELESS(core) WRAPPED(core, (s, p, m, op, r, out))
#define WITH_MEMORY(core) WRAPPED(core, (s, c, p, m, op, r, out))
#define MODEL(core, memory, prepare, remembers, stages)                                                                     \
    {#core, sizeof(core##_state), memory, stages, core##_fields, core##_reset_any, core##_sound_any, core##_step_any, prepare, remembers}
#define FIELD(core, field, low, high) {#field, offsetof(core##_params, field), low, high, 0}
#define WORDS(core, field, high, words) {#field, offsetof(core##_params, field), 0, high, words}
#define NO_FIELD {0, 0, 0, 0, 0}

STATELESS(ibex)
static const timing_field ibex_fields[] = {
    FIELD(ibex, writeback, 0, 1), FIELD(ibex, branch_target_alu, 0, 1), FIELD(ibex, mul, 1, 255), FIELD(ibex, mulh, 1, 255), FIELD(ibex, div, 1, 255),
    FIELD(ibex, div_by_zero, 1, 255), FIELD(ibex, flush, 1, 255), NO_FIELD};
STATELESS(cv32e40p)
static const timing_field cv32e40p_fields[] = {
    FIELD(cv32e40p, mulh, 1, 255), FIELD(cv32e40p, div_base, 2, 200), FIELD(cv32e40p, flush, 1, 255), NO_FIELD};
STATELESS(hazard3)
static const timing_field hazard3_fields[] = {
    FIELD(hazard3, muldiv_unroll, 1, 32), FIELD(hazard3, mul_fast, 0, 1), FIELD(hazard3, mul_faster, 0, 1), FIELD(hazard3, mulh_fast, 0, 1),
    FIELD(hazard3, branch_predictor, 0, 1), NO_FIELD};

STATELESS(picorv32)
static const timing_field picorv32_fields[] = {
    FIELD(picorv32, multiply, 3, 255), FIELD(picorv32, divide, 3, 255), FIELD(picorv32, csr_request, 1, 255), FIELD(picorv32, jalr_request, 1, 255),
    FIELD(picorv32, jal_request, 1, 255), NO_FIELD};
WITH_MEMORY(vexriscv)
static const timing_field vexriscv_fields[] = {
    FIELD(vexriscv, divide, 1, 255), FIELD(vexriscv, line_words, 8, 8), FIELD(vexriscv, fill_end, 1, 255), FIELD(vexriscv, trap, 1, 255),
    FIELD(vexriscv, flush, 64, 255), NO_FIELD};

WITH_MEMORY(inorder)
static const char *inorder_prepare_any(void *p) { return inorder_prepare(p); }
static int inorder_remembers_any(const void *p) { return ((const inorder_params *)p)->predictor >= PREDICTOR_BIMODAL; }
static const timing_field inorder_fields[] = {
    FIELD(inorder, stages, 2, 7), FIELD(inorder, issue, 0, 7), FIELD(inorder, execute, 0, 7), FIELD(inorder, access, 0, 7), FIELD(inorder, answer, 0, 7),
    FIELD(inorder, branch, 0, 7), FIELD(inorder, jump, 0, 7), FIELD(inorder, jump_register, 0, 7), FIELD(inorder, branch_delay, 0, 8),
    FIELD(inorder, jump_delay, 0, 8), WORDS(inorder, forwarding, 2, "none partial full"), FIELD(inorder, load_to_use, 1, 8),
    FIELD(inorder, store_data_late, 0, 1), FIELD(inorder, multiply, 1, 64), FIELD(inorder, multiply_high, 1, 64),
    FIELD(inorder, multiply_pipelined, 0, 1), FIELD(inorder, divide, 1, 200), WORDS(inorder, divide_bits, 2, "fixed divisor quotient"),
    FIELD(inorder, divide_step, 1, 8), FIELD(inorder, divide_by_zero, 0, 200), FIELD(inorder, divide_sign, 0, 8), FIELD(inorder, csr, 1, 64),
    FIELD(inorder, csr_flush, 1, 64), WORDS(inorder, csr_flushes, 2, "none writes all"), FIELD(inorder, fence, 0, 64), FIELD(inorder, fence_i, 0, 64),
    FIELD(inorder, trap, 1, 64), FIELD(inorder, mret, 1, 64), WORDS(inorder, predictor, 3, "none backward bimodal btb"),
    FIELD(inorder, predictor_entries, 1, INORDER_ENTRIES), FIELD(inorder, predictor_backward, 0, 1), FIELD(inorder, prefetch, 2, PREFETCH_MAX), FIELD(inorder, prefetch_keeps, 0, 2),
    FIELD(inorder, fetch_outstanding, 1, PREFETCH_MAX), FIELD(inorder, data_outstanding, 1, INORDER_RESPONSES), FIELD(inorder, ports, 1, 2),
    FIELD(inorder, blocking, 0, 1), NO_FIELD};

static const timing_model timing_models[] = {
    MODEL(ibex, 0, 0, 0, "IF ID WB"),
    MODEL(cv32e40p, 0, 0, 0, "IF ID EX WB"),
    MODEL(hazard3, 0, 0, 0, "F X M"),
    MODEL(picorv32, 0, 0, 0, "fetch ld_rs1 exec ldmem stmem wb"), /* values of cpu_state; wb: latched_store in fetch */
    MODEL(vexriscv, sizeof(vexriscv_caches), 0, 0, "F D E M W"),
    MODEL(inorder, sizeof(inorder_history), inorder_prepare_any, inorder_remembers_any, "F S2 S3 S4 S5 S6 S7"), /* what each does is in its numbers */
    {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}};
#endif
