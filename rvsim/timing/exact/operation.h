/* What an exact timing model sees of an instruction, what it says, and how memory answers.
 *
 * A model is one function, CORE_step: it takes the next instruction of the stream of those that retire, and returns by how many cycles
 * it retires behind the one before. Its rules:
 *  - CORE_state is plain data of small integers, without pointers and without absolute times: each time in it is relative to the last
 *    retirement, and clipped to what can still matter. So equal states are equal bytes, and the cycles of a block can be kept by (block,
 *    state it is entered with). What depends on addresses (contents of caches) is in a struct of its own.
 *  - CORE_params holds every number; rvsim/timing/cores/CORE.toml has them with their sources.
 *  - It models what the hardware does (queues, interlocks, requests under way) and has no number that was fitted to a measurement.
 */
#ifndef RVSIM_OPERATION_H
#define RVSIM_OPERATION_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The order of KINDS in rvsim/timing/operation.py, which fills in timing_op from the description of the instructions. */
enum timing_kind {
    K_ALU, K_SHIFT, K_MUL, K_MULH, K_MULHSU, K_MULHU, K_DIV, K_DIVU, K_REM, K_REMU, K_LOAD, K_STORE, K_LR, K_SC, K_AMO, K_BRANCH, K_JAL, K_JALR,
    K_CSR, K_FENCE, K_FENCE_I, K_ECALL, K_EBREAK, K_MRET, K_WFI, K_CUSTOM, K_ILLEGAL
};

typedef struct timing_op {  /* of an instruction in memory */
    uint8_t kind;           /* enum timing_kind */
    uint8_t size;           /* bytes: 2 or 4 */
    uint8_t rd, rs1, rs2;   /* numbers of X registers, 0 for none (x0 is never waited for); a store's data is rs2 */
    uint8_t width;          /* bytes of a load or store */
    uint16_t csr;           /* number of a CSR */
    uint8_t csr_writes;     /* 1 where it is written */
    uint8_t backward;       /* 1: a branch or jal to an address before its own */
    uint8_t following;      /* bit 0: a 32-bit instruction would begin behind it (low bits 11); bit 1: in the half-word behind that */
    uint8_t zimm;           /* immediate of csrrwi, csrrsi, csrrci, which is where others name rs1 */
    int32_t offset;         /* of a branch or jal: from its address to the target */
    uint16_t extra;         /* cycles for which everything waits for a coprocessor */
    uint16_t spare[3];      /* so that what follows it in flow.h has no gaps */
} timing_op;

typedef struct {            /* of one that retires */
    uint32_t pc, next_pc;   /* next_pc: of the one that retires next */
    uint32_t address;       /* of a load, store or atomic operation */
    uint32_t rs1, rs2;      /* values of the operands, where its kind is a division or multiplication */
    uint8_t taken;          /* 1: a jump, or a branch that is taken, also where it leads to the next instruction */
    uint8_t next_size;      /* of the instruction at next_pc */
    uint16_t spare;
} retired;

enum timing_cause { C_LOAD_USE, C_BRANCH, C_JUMP, C_MUL, C_DIV, C_FETCH, C_DATA, C_CSR, C_COPROCESSOR, C_OTHER, CAUSES };

/* What a step can say beside its cycles. All times are cycles relative to the last retirement.
 *
 * The stages are those that the core's source names (timing_model.stages), in the order an instruction goes through them: [0] is where it is
 * fetched or waits to be decoded. It is in each from stage[n] on until it is in the next one, and in its last until `end`. When it is
 * in the first is known before the step: `behind` of the instruction before says so. */
enum { TIMING_STAGES = 7, NO_STAGE = INT32_MIN };
typedef struct {
    uint32_t lost[CAUSES];  /* they sum to the cycles less one */
    int32_t seen;           /* cycle in which a store is seen on the bus, as the core's test bench takes it (docs/timing.md) */
    int32_t staged;         /* set by who asks: whether what follows is wanted */
    int32_t stage[TIMING_STAGES]; /* NO_STAGE where it is not in it; [0] is left alone */
    int32_t executes;       /* number of the stage in which an added instruction waits for its coprocessor */
    int32_t end;            /* first cycle in which it is in none */
    int32_t behind;         /* first cycle in which the next one can be in stage [0]: asked for, and the one before is out of it */
} timing_report;

/* A cache in front of a region: the wait states of an access, a word or less within a word, which it takes note of. */
typedef struct timing_cache { int (*wait)(struct timing_cache *, uint32_t address, int store); } timing_cache;

typedef struct {            /* wait states beyond the fastest answer that the core's bus allows */
    uint32_t base, last;
    uint16_t fetch_wait, load_wait, store_wait;
    timing_cache *fetches, *data; /* NULL: none; its wait states come on top */
} timing_region;

enum { TIMING_REGIONS = 32 };
typedef struct {
    int count;
    timing_region region[TIMING_REGIONS]; /* [0] answers where no other does */
    const timing_op *(*at)(void *code, uint32_t pc); /* the instruction at any address: of what is fetched and never retires */
    void *code;
} timing_memory;

static inline const timing_op *timing_at(const timing_memory *m, uint32_t pc) { return m->at(m->code, pc); }

static inline const timing_region *timing_region_of(const timing_memory *m, uint32_t address)
{
    for (int i = 1; i < m->count; i++)
        if (address - m->region[i].base <= m->region[i].last - m->region[i].base) return &m->region[i];
    return &m->region[0];
}
/* Models ask once for each word that they fetch and each access, in the order of the requests: caches keep count. */
static inline int timing_fetch_wait(const timing_memory *m, uint32_t address)
{
    const timing_region *r = timing_region_of(m, address);
    return r->fetches ? r->fetch_wait + r->fetches->wait(r->fetches, address, 0) : r->fetch_wait;
}
static inline int timing_data_wait(const timing_memory *m, uint32_t address, int store)
{
    const timing_region *r = timing_region_of(m, address);
    int wait = store ? r->store_wait : r->load_wait;
    return r->data ? wait + r->data->wait(r->data, address, store) : wait;
}

static inline int timing_multiplies(const timing_op *op) { return op->kind >= K_MUL && op->kind <= K_MULHU; }
static inline int timing_divides(const timing_op *op) { return op->kind >= K_DIV && op->kind <= K_REMU; }
/* What an instruction's own cycles are lost to. */
static inline enum timing_cause timing_cause_of(const timing_op *op)
{
    switch (op->kind) {
    case K_MUL: case K_MULH: case K_MULHSU: case K_MULHU: return C_MUL;
    case K_DIV: case K_DIVU: case K_REM: case K_REMU: return C_DIV;
    case K_LOAD: case K_STORE: case K_LR: case K_SC: case K_AMO: return C_DATA;
    case K_BRANCH: return C_BRANCH;
    case K_JAL: case K_JALR: return C_JUMP;
    case K_CSR: return C_CSR;
    default: return C_OTHER;
    }
}
/* Attribution: `*mark` is the retirement that all causes charged so far lead to. */
static inline void timing_charge(timing_report *out, int *mark, int retirement, enum timing_cause cause)
{
    if (retirement > *mark) out->lost[cause] += (uint32_t)(retirement - *mark), *mark = retirement;
}
static inline int later(int a, int b) { return a > b ? a : b; }
static inline int sooner(int a, int b) { return a < b ? a : b; }

/* The cycles of a step, with those that everything waits. */
static inline uint32_t timing_waited(const timing_op *op, uint32_t cycles, timing_report *out)
{
    if (out) out->lost[C_COPROCESSOR] += op->extra;
    return cycles + op->extra;
}

static inline void timing_no_stages(timing_report *out, int executes)
{
    out->executes = executes;
    for (int i = 1; i < TIMING_STAGES; i++) out->stage[i] = NO_STAGE;
}
#endif
