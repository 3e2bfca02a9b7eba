/* The models by name: how to make one and take a step, and which numbers it wants (a core's table [pipeline]). */
#ifndef RVSIM_MODEL_H
#define RVSIM_MODEL_H
#include "ibex.h"
#include "cv32e40p.h"
#include "hazard3.h"
#include "picorv32.h"
#include "vexriscv.h"

typedef struct { const char *name; uint16_t offset; uint8_t low, high; } timing_field; /* each a uint8_t of the params, from low to high */

typedef struct {
    const char *name;
    size_t state_size, memory_size;   /* memory_size: what depends on addresses, zeros at first */
    const timing_field *fields;       /* ends with a name that is NULL */
    void (*reset)(void *state, void *memory, const void *params, const timing_memory *m, uint32_t entry);
    int (*sound)(const void *state);  /* whether bytes from outside can be a state: no step from it leaves the model */
    uint32_t (*step)(void *state, void *memory, const void *params, const timing_memory *m, const timing_op *op, const retired *r, timing_report *out);
} timing_model;

enum { TIMING_PARAMS = 64, TIMING_STATE = 256 }; /* bytes: no model's are more */

#define STATELESS(core)                                                                                                      \
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
        return core##_step(s, p, m, op, r, out);                                                                             \
    }
#define MODEL(core, memory) {#core, sizeof(core##_state), memory, core##_fields, core##_reset_any, core##_sound_any, core##_step_any}
#define FIELD(core, field, low, high) {#field, offsetof(core##_params, field), low, high}

STATELESS(ibex)
static const timing_field ibex_fields[] = {
    FIELD(ibex, writeback, 0, 1), FIELD(ibex, branch_target_alu, 0, 1), FIELD(ibex, mul, 1, 255), FIELD(ibex, mulh, 1, 255), FIELD(ibex, div, 1, 255),
    FIELD(ibex, div_by_zero, 1, 255), FIELD(ibex, flush, 1, 255), {0, 0, 0, 0}};
STATELESS(cv32e40p)
static const timing_field cv32e40p_fields[] = {
    FIELD(cv32e40p, mulh, 1, 255), FIELD(cv32e40p, div_base, 2, 200), FIELD(cv32e40p, flush, 1, 255), {0, 0, 0, 0}};
STATELESS(hazard3)
static const timing_field hazard3_fields[] = {
    FIELD(hazard3, muldiv_unroll, 1, 32), FIELD(hazard3, mul_fast, 0, 1), FIELD(hazard3, mul_faster, 0, 1), FIELD(hazard3, mulh_fast, 0, 1),
    FIELD(hazard3, branch_predictor, 0, 1), {0, 0, 0, 0}};

STATELESS(picorv32)
static const timing_field picorv32_fields[] = {
    FIELD(picorv32, multiply, 3, 255), FIELD(picorv32, divide, 3, 255), FIELD(picorv32, csr_request, 1, 255), FIELD(picorv32, jalr_request, 1, 255),
    FIELD(picorv32, jal_request, 1, 255), {0, 0, 0, 0}};
static void vexriscv_reset_any(void *s, void *c, const void *p, const timing_memory *m, uint32_t entry)
{
    (void)c;
    vexriscv_reset(s, p, m, entry);
}
static int vexriscv_sound_any(const void *s) { return vexriscv_sound(s); }
static uint32_t vexriscv_step_any(void *s, void *c, const void *p, const timing_memory *m, const timing_op *op, const retired *r, timing_report *out)
{
    return vexriscv_step(s, c, p, m, op, r, out);
}
static const timing_field vexriscv_fields[] = {
    FIELD(vexriscv, divide, 1, 255), FIELD(vexriscv, line_words, 8, 8), FIELD(vexriscv, fill_end, 1, 255), FIELD(vexriscv, trap, 1, 255),
    FIELD(vexriscv, flush, 64, 255), {0, 0, 0, 0}};

static const timing_model timing_models[] = {
    MODEL(ibex, 0), MODEL(cv32e40p, 0), MODEL(hazard3, 0), MODEL(picorv32, 0), MODEL(vexriscv, sizeof(vexriscv_caches)), {0, 0, 0, 0, 0, 0, 0}};
#endif
