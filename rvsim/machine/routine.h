/* Routines of instructions added at run time: steps on 64-bit values, made by rvsim/isa/routine.py for one instruction word.
 *
 * A step's operands are the temporaries numbered a, b and c, of which b may stand for the constant k; its value goes to temporary `to`.
 */
#ifndef RVSIM_ROUTINE_H
#define RVSIM_ROUTINE_H

enum { STEP_CODES };
enum { STEP_CONSTANT = 255 };

struct step {
    uint8_t code, to, a, b;
    uint32_t c;
    uint64_t k;
};

struct routine {
    uint32_t count;     /* steps */
    uint16_t custom;    /* which of the added instructions it is of */
    uint8_t jumps;      /* may set the pc */
    uint8_t accesses;   /* to memory, at most */
    uint8_t window;     /* bytes of the one access that each execution makes, which a window serves; else 0 */
    uint8_t stores;
    uint8_t computes;   /* reads and writes registers, and nothing else; then its instructions' `host` leads here */
    uint8_t loops;      /* writes a register that a hardware loop ends by */
    struct step steps[];
};

enum { ROUTINE_NEXT, ROUTINE_TRAP, ROUTINE_MODIFIED, ROUTINE_JUMP };

/* Signed division as the description means it: towards zero; by 0 it is -1, and the remainder the dividend. */
static inline uint64_t step_divide(uint64_t a, uint64_t b, int remainder)
{
    if (b == 0) return remainder ? a : ~(uint64_t)0;
    if (b == ~(uint64_t)0) return remainder ? 0 : 0 - a;
    return (uint64_t)(remainder ? (int64_t)a % (int64_t)b : (int64_t)a / (int64_t)b);
}

static inline uint32_t routine_distance(uint32_t d, int size) { return size == 1 ? d : size == 2 ? d >> 1 | d << 31 : d >> 2 | d << 30; }

/* 0, or 1 for a trap. */
static int routine_load(struct hart *h, struct block *b, struct insn *in, const struct routine *p, uint32_t address, int size, uint64_t *to)
{
    uint32_t value = 0, d = address - in->k[1];
    if (p->window) {
        if (routine_distance(d, size) < in->units) memcpy(&value, in->host + d, (size_t)size);
        else if (h->load(h, b, in, address, size, &value)) return 1;
    } else if (h->plain(h, b, in, address, size, 0, &value)) return 1;
    *to = value;
    return 0;
}

/* 0, 1 for a trap, 2 when the block is to be left behind the instruction. */
static int routine_store(struct hart *h, struct block *b, struct insn *in, const struct routine *p, uint32_t address, int size, uint32_t value)
{
    uint32_t d = address - in->k[1];
    if (size < 4) value &= (1u << 8 * size) - 1;
    if (!p->window) return h->plain(h, b, in, address, size, 1, &value);
    if (routine_distance(d, size) >= in->units) return h->store(h, b, in, address, size, value);
    memcpy(in->host + d, &value, (size_t)size);
    return 0;
}

/* Execute one; h->fuel is up to date. */
static int routine_run(struct hart *h, struct block *block, struct insn *in)
{
    const struct routine *p = h->routines[in->k[0]];
    uint64_t *const t = h->temporaries, *const own = h->own;
    int modified = 0, jumped = 0, how;
    for (const struct step *s = p->steps;; s++) {
        const uint64_t a = t[s->a], b = s->b == STEP_CONSTANT ? s->k : t[s->b];
        uint64_t *const to = &t[s->to];
        switch (s->code) {
        case S_END:
            if (!jumped) return modified ? ROUTINE_MODIFIED : ROUTINE_NEXT;
            if (!(h->target & 1)) return ROUTINE_JUMP;
            h->irq = h->cause = 0;
            h->tval = h->target;
            return ROUTINE_TRAP;
        case S_CONST: *to = s->k; break;
        case S_GET: *to = h->x[s->c]; break;
        case S_PUT: h->x[s->c] = (uint32_t)b; break;
        case S_GETOWN: *to = own[s->c]; break;
        case S_PUTOWN: own[s->c] = b; break;
        case S_PUTEND: own[s->c] = b; modified |= hwloop_end(h, (uint32_t)b, s->c); break;
        case S_GETAT: *to = a < s->k ? own[s->c + a] : 0; break; /* k: how many there are */
        case S_PUTAT: if (a < s->k) own[s->c + a] = b; break;
        case S_ADD: *to = a + b; break;
        case S_SUB: *to = a - b; break;
        case S_MUL: *to = a * b; break;
        case S_AND: *to = a & b; break;
        case S_OR: *to = a | b; break;
        case S_XOR: *to = a ^ b; break;
        case S_SHL: *to = a << (b & 63); break;
        case S_SHR: *to = a >> (b & 63); break;
        case S_SAR: *to = (uint64_t)((int64_t)a >> (b & 63)); break;
        case S_SEXT: *to = (uint64_t)((int64_t)(a << (b & 63)) >> (b & 63)); break;
        case S_SEQ: *to = a == b; break;
        case S_SLTU: *to = a < b; break;
        case S_SLTS: *to = (int64_t)a < (int64_t)b; break;
        case S_SLEU: *to = a <= b; break;
        case S_SLES: *to = (int64_t)a <= (int64_t)b; break;
        case S_SELECT: *to = a ? b : t[s->c]; break;
        case S_DIVS: *to = step_divide(a, b, 0); break;
        case S_REMS: *to = step_divide(a, b, 1); break;
        case S_DIVU: *to = b ? a / b : ~(uint64_t)0; break;
        case S_REMU: *to = b ? a % b : a; break;
        case S_LOAD1: case S_LOAD2: case S_LOAD4:
            if (routine_load(h, block, in, p, (uint32_t)a, 1 << (s->code - S_LOAD1), to)) return ROUTINE_TRAP;
            break;
        case S_STORE1: case S_STORE2: case S_STORE4:
            how = routine_store(h, block, in, p, (uint32_t)a, 1 << (s->code - S_STORE1), (uint32_t)b);
            if (how == 1) return ROUTINE_TRAP;
            modified |= how;
            break;
        case S_SKIP: if (!a) s++; break;
        case S_SETPC: h->target = (uint32_t)b; jumped = 1; break;
        case S_TVAL: h->tval = (uint32_t)b; break;
        case S_RAISE:
            h->irq = s->c;
            h->cause = (uint32_t)s->k;
            return ROUTINE_TRAP;
        }
    }
}
#endif
