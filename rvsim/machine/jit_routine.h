/* Code of routines that only compute (routine.h), for x86-64.
 *
 * A routine's temporary 0 is rdx, the others are in struct hart; rax holds the last value made as well, rcx is for one step alone.
 */
#ifndef RVSIM_JIT_ROUTINE_H
#define RVSIM_JIT_ROUTINE_H

/* Bytes of one routine: TRACE_INSTRUCTIONS of them must fit into HOT_ROOM. A longer one is called. */
enum { ROUTINE_BYTES = 400 };

static struct place guest_place(struct jit *j, uint32_t r)
{
    if (!r) return (struct place){LITERAL, 0};
    if (j->host_of[r]) return (struct place){IN_REGISTER, j->host_of[r]};
    return (struct place){IN_MEMORY, (uint32_t)(H(x) + 4 * (int32_t)r)};
}

/* An operation of rax, or another register, with a temporary. */
static void with_temporary(struct out *o, int code, int reg, int t)
{
    if (t == 0) rr(o, code, reg, RDX, 1);
    else rm(o, code, reg, RDI, H(temporaries) + 8 * t, 1);
}
static void wide_literal(struct out *o, int n, uint64_t k) /* as arithmetic() numbers operations; on rax */
{
    rr(o, 0x81, n, RAX, 1);
    put32(o, (uint32_t)k);
}
static int is_short(uint64_t k) { return (int64_t)k == (int32_t)k; }

/* rax op b; n as arithmetic() numbers operations. */
static void wide_arithmetic(struct out *o, int n, const struct step *s)
{
    if (s->b != STEP_CONSTANT) with_temporary(o, n << 3 | 3, RAX, s->b);
    else if (is_short(s->k)) wide_literal(o, n, s->k);
    else { load_constant(o, RCX, s->k); rr(o, n << 3 | 3, RAX, RCX, 1); }
}

static void routine_call(struct hart *h, struct insn *in) { routine_run(h, NULL, in); }

/* 0, and nothing emitted, when it is too long or divides. */
static int emit_routine(struct out *o, const struct routine *r)
{
    static const int conditions[] = {CC_E, CC_B, CC_L, CC_BE, CC_LE};
    uint8_t *const begin = o->p, *over = NULL;
    int held = -1; /* which temporary rax is */
    for (uint32_t i = 0; i < r->count; i++) {
        struct step step = r->steps[i], *const s = &step;
        uint8_t *landing = over;
        int code = s->code, value = 1; /* whether it makes one */
        over = NULL;
        if (o->p - begin > ROUTINE_BYTES) { o->p = begin; return 0; }
        if (code >= S_ADD && code <= S_SELECT && code != S_SEXT && s->a != held && s->b == held
            && (code == S_ADD || code == S_MUL || code == S_AND || code == S_OR || code == S_XOR || code == S_SEQ)) {
            s->b = s->a;
            s->a = (uint8_t)held;
        }
        if (((code >= S_ADD && code <= S_SELECT) || code == S_GETAT || code == S_PUTAT || code == S_SKIP) && s->a != held) with_temporary(o, 0x8b, RAX, s->a);
        switch (code) {
        case S_END: value = 0; break;
        case S_CONST: load_constant(o, RAX, s->k); break;
        case S_GET: move(o, RAX, guest_place(o->j, s->c)); break;
        case S_PUT: case S_PUTOWN:
            value = 0;
            if (s->b == STEP_CONSTANT) { load_constant(o, RAX, s->k); held = -1; }
            else if (s->b != held) { with_temporary(o, 0x8b, RAX, s->b); held = s->b; }
            if (code == S_PUT) move_to(o, guest_place(o->j, s->c), RAX);
            else {
                rm(o, 0x8b, RCX, RDI, H(own), 1);
                rm(o, 0x89, RAX, RCX, (int32_t)(8 * s->c), 1);
            }
            break;
        case S_GETOWN:
            rm(o, 0x8b, RAX, RDI, H(own), 1);
            rm(o, 0x8b, RAX, RAX, (int32_t)(8 * s->c), 1);
            break;
        case S_GETAT: case S_PUTAT: {
            wide_literal(o, 7, s->k);
            uint8_t *beyond = jump_if(o, CC_AE);
            rm(o, 0x8b, RCX, RDI, H(own), 1);
            rx(o, 0x8d, RCX, RCX, RAX, 3, (int32_t)(8 * s->c), 1, 0);
            if (code == S_PUTAT) {
                with_temporary(o, 0x8b, RAX, s->b);
                rm(o, 0x89, RAX, RCX, 0, 1);
                land(o, beyond);
                value = 0;
                held = -1;
            } else {
                rm(o, 0x8b, RAX, RCX, 0, 1);
                put8(o, 0xe9);
                put32(o, 0);
                uint8_t *done = o->p - 4;
                land(o, beyond);
                load_constant(o, RAX, 0);
                land(o, done);
            }
            break;
        }
        case S_ADD: wide_arithmetic(o, 0, s); break;
        case S_SUB: wide_arithmetic(o, 5, s); break;
        case S_AND: wide_arithmetic(o, 4, s); break;
        case S_OR: wide_arithmetic(o, 1, s); break;
        case S_XOR: wide_arithmetic(o, 6, s); break;
        case S_MUL:
            if (s->b != STEP_CONSTANT) with_temporary(o, 0x0faf, RAX, s->b);
            else if (is_short(s->k)) { rr(o, 0x69, RAX, RAX, 1); put32(o, (uint32_t)s->k); }
            else { load_constant(o, RCX, s->k); rr(o, 0x0faf, RAX, RCX, 1); }
            break;
        case S_SHL: case S_SHR: case S_SAR: {
            int n = code == S_SHL ? 4 : code == S_SHR ? 5 : 7;
            if (s->b == STEP_CONSTANT) { rr(o, 0xc1, n, RAX, 1); put8(o, (int)(s->k & 63)); }
            else { with_temporary(o, 0x8b, RCX, s->b); rr(o, 0xd3, n, RAX, 1); }
            break;
        }
        case S_SEXT:
            if (s->k == 56 || s->k == 48) rr(o, s->k == 56 ? 0x0fbe : 0x0fbf, RAX, RAX, 1);
            else if (s->k == 32) rr(o, 0x63, RAX, RAX, 1);
            else
                for (int n = 4; n <= 7; n += 3) { rr(o, 0xc1, n, RAX, 1); put8(o, (int)(s->k & 63)); }
            break;
        case S_SEQ: case S_SLTU: case S_SLTS: case S_SLEU: case S_SLES:
            wide_arithmetic(o, 7, s);
            rr(o, 0x0f90 | conditions[code - S_SEQ], 0, RAX, 0);
            rr(o, 0x0fb6, RAX, RAX, 0);
            break;
        case S_SELECT:
            rr(o, 0x85, RAX, RAX, 1);
            with_temporary(o, 0x8b, RAX, (int)s->c); /* movs change no flags */
            with_temporary(o, 0x0f45, RAX, s->b);
            break;
        case S_SKIP:
            rr(o, 0x85, RAX, RAX, 1);
            over = jump_if(o, CC_E);
            held = -1;
            value = 0;
            break;
        default: o->p = begin; return 0;
        }
        if (value) { with_temporary(o, 0x89, RAX, s->to); held = s->to; }
        if (landing) { land(o, landing); held = -1; }
    }
    return 1;
}
#endif
