/* The operations of templates (rvsim/isa/template.py) as bytes of the host; what an access needs is in jit_access.h.
 *
 * rcx is scratch within each operation, rax and rdx are the templates' two temporaries.
 */
#ifndef RVSIM_JIT_TEMPLATE_H
#define RVSIM_JIT_TEMPLATE_H
#include "jit_encode.h"

enum { TEMPLATE_CODES };
static const uint8_t template_ops[][5] = {TEMPLATE_OPS};
static const uint32_t template_literals[] = {TEMPLATE_LITERALS};
static const uint16_t template_starts[] = {TEMPLATE_STARTS};
static const uint8_t template_kinds[] = {TEMPLATE_KINDS};
static void (*const template_functions[HANDLER_COUNT])(struct hart *, struct insn *) = {TEMPLATE_FUNCTIONS};

static int same(struct place a, struct place b) { return a.kind == b.kind && a.v == b.v; }

static struct place place_of(struct jit *j, const struct insn *in, int operand)
{
    int n = operand & 63, r;
    switch (operand >> 6) {
    case 0: return (struct place){IN_REGISTER, n ? RDX : RAX};
    case 1:
        r = in->r[n];
        if (!r) return (struct place){LITERAL, 0};
        if (j->host_of[r]) return (struct place){IN_REGISTER, j->host_of[r]};
        return (struct place){IN_MEMORY, (uint32_t)(H(x) + 4 * r)};
    case 2: return (struct place){LITERAL, in->k[n]};
    }
    return (struct place){LITERAL, template_literals[n]};
}

static void two_operands(struct out *o, int code, struct place d, struct place a, struct place b)
{
    static const int number[] = {[T_ADD] = 0, [T_OR] = 1, [T_AND] = 4, [T_SUB] = 5, [T_XOR] = 6};
    struct place swap;
    if (code != T_SUB && (a.kind == LITERAL || (same(d, b) && !same(d, a)))) { swap = a; a = b; b = swap; }
    if (code == T_SUB && b.kind == LITERAL) { code = T_ADD; b.v = -b.v; }
    int t = d.kind == IN_REGISTER && !(same(d, b) && !same(d, a)) ? (int)d.v : RCX;
    if (code == T_ADD && a.kind == IN_REGISTER && (int)a.v != t && b.kind == LITERAL)
        rm(o, 0x8d, t, (int)a.v, (int32_t)b.v, 0);
    else if (code == T_ADD && a.kind == IN_REGISTER && b.kind == IN_REGISTER && (int)a.v != t && (int)b.v != t)
        rx(o, 0x8d, t, (int)a.v, (int)b.v, 0, 0, 0, 0);
    else if (code == T_MUL) {
        if (b.kind == LITERAL) {
            if (a.kind == LITERAL) { move(o, t, a); a = (struct place){IN_REGISTER, (uint32_t)t}; }
            rp(o, 0x69, t, a, 0);
            put32(o, b.v);
        } else {
            move(o, t, a);
            rp(o, 0x0faf, t, b, 0);
        }
    } else {
        move(o, t, a);
        if (!(code == T_ADD && b.kind == LITERAL && b.v == 0)) arithmetic(o, number[code], t, b);
    }
    move_to(o, d, t);
}

static void shift(struct out *o, int code, struct place d, struct place a, struct place b)
{
    int n = code == T_SHL ? 4 : code == T_SHR ? 5 : 7;
    if (b.kind == LITERAL) {
        int t = d.kind == IN_REGISTER ? (int)d.v : RCX;
        move(o, t, a);
        if (b.v & 31) {
            rr(o, 0xc1, n, t, 0);
            put8(o, b.v & 31);
            zero_flag_is_of(o, t);
        }
        move_to(o, d, t);
        return;
    }
    move(o, RCX, b);
    if (d.kind == IN_REGISTER) {
        move(o, (int)d.v, a);
        rr(o, 0xd3, n, (int)d.v, 0);
        return;
    }
    put8(o, 0x50); /* push rax */
    move(o, RAX, a);
    rr(o, 0xd3, n, RAX, 0);
    move_to(o, d, RAX);
    put8(o, 0x58); /* pop rax */
}

/* Flags of a - b; for_zero: nothing but the zero flag will be asked for. */
static void compare(struct out *o, struct place a, struct place b, int for_zero)
{
    if (for_zero && b.kind == LITERAL && b.v == 0 && a.kind == IN_REGISTER && o->flags_at == o->p && o->flags_of == (int)a.v) return;
    if (a.kind == LITERAL || (a.kind == IN_MEMORY && b.kind == IN_MEMORY)) {
        move(o, RCX, a);
        a = (struct place){IN_REGISTER, RCX};
    }
    if (b.kind == LITERAL && b.v == 0 && a.kind == IN_REGISTER) rr(o, 0x85, (int)a.v, (int)a.v, 0);
    else if (a.kind == IN_REGISTER) arithmetic(o, 7, (int)a.v, b);
    else if (b.kind == IN_REGISTER) rp(o, 0x39, (int)b.v, a, 0);
    else { rp(o, 0x81, 7, a, 0); put32(o, b.v); }
}

/* Condition codes of seq.. and of beq.. */
static const uint8_t set_codes[] = {CC_E, CC_B, CC_L, CC_BE, CC_LE};
static const uint8_t branch_codes[] = {CC_E, CC_NE, CC_B, CC_L, CC_BE, CC_LE, CC_A, CC_G, CC_AE, CC_GE};

static void extend(struct out *o, int code, struct place d, struct place a)
{
    static const int codes[] = {0x0fbe, 0x0fbf, 0x0fb6, 0x0fb7};
    int n = code - T_SEXT8, t = d.kind == IN_REGISTER ? (int)d.v : RCX;
    if (a.kind == LITERAL) { move(o, RCX, a); a = (struct place){IN_REGISTER, RCX}; }
    if (a.kind == IN_REGISTER) {
        opcode(o, codes[n], t, 0, (int)a.v, 0, n % 2 == 0);
        put8(o, 0xc0 | (t & 7) << 3 | (a.v & 7));
    } else
        rm(o, codes[n], t, RDI, (int32_t)a.v, 0);
    move_to(o, d, t);
}

static void multiply_high(struct out *o, int code, struct place d, struct place a, struct place b)
{
    put8(o, 0x50);
    for (int n = 0; n < 2; n++) {
        struct place p = n ? b : a;
        int t = n ? RAX : RCX, is_signed = n ? code == T_MULHSS : code != T_MULHUU;
        if (p.kind == LITERAL) { move(o, t, p); p = (struct place){IN_REGISTER, (uint32_t)t}; }
        if (is_signed) rp(o, 0x63, t, p, 1); /* movsxd */
        else move(o, t, p);
    }
    rr(o, 0x0faf, RCX, RAX, 1);
    rr(o, 0xc1, 5, RCX, 1);
    put8(o, 32);
    put8(o, 0x58);
    move_to(o, d, RCX);
}

static void select_one(struct out *o, struct place d, struct place c, struct place a, struct place b)
{
    if (c.kind == LITERAL) { move(o, RCX, c.v ? a : b); move_to(o, d, RCX); return; }
    if (c.kind == IN_MEMORY) { move(o, RCX, c); c = (struct place){IN_REGISTER, RCX}; }
    rr(o, 0x85, (int)c.v, (int)c.v, 0);
    move(o, RCX, b); /* movs change no flags */
    if (a.kind == LITERAL) {
        put8(o, 0x74); /* je over the move */
        put8(o, 5);
        load_constant(o, RCX, a.v);
    } else
        rp(o, 0x0f45, RCX, a, 0);
    move_to(o, d, RCX);
}

/* 0 for the interpreter, 1 template, 2 function, 3 routine that only computes. */
static int kind_of(const struct block *b, uint32_t i)
{
    int handler = b->meta[i].handler;
    if (handler == HANDLER_ROUTINE) return 3;
    if (handler >= HANDLER_COUNT) return 0;
    if (template_kinds[handler] == 1)
        for (int n = template_starts[handler]; n < template_starts[handler + 1]; n++)
            if (template_ops[n][1] >> 6 == 1 && !b->code[i].r[template_ops[n][1] & 63]) return 0; /* x0 keeps its value */
    return template_kinds[handler];
}

/* An operation that only computes: neither an access nor a way out of the block. */
static void compute(struct out *o, int code, struct place d, struct place a, struct place b, struct place c)
{
    switch (code) {
    case T_MOV:
        if (d.kind == IN_REGISTER) move(o, (int)d.v, a);
        else { move(o, RCX, a); move_to(o, d, RCX); }
        return;
    case T_ADD: case T_SUB: case T_AND: case T_OR: case T_XOR: case T_MUL: two_operands(o, code, d, a, b); return;
    case T_SHL: case T_SHR: case T_SAR: shift(o, code, d, a, b); return;
    case T_SEXT8: case T_SEXT16: case T_ZEXT8: case T_ZEXT16: extend(o, code, d, a); return;
    case T_SEQ: case T_SLTU: case T_SLT: case T_SLEU: case T_SLE:
        compare(o, a, b, code == T_SEQ);
        rr(o, 0x0f90 | set_codes[code - T_SEQ], 0, RCX, 0);
        rr(o, 0x0fb6, d.kind == IN_REGISTER ? (int)d.v : RCX, RCX, 0);
        if (d.kind == IN_MEMORY) move_to(o, d, RCX);
        return;
    case T_SELECT: select_one(o, d, a, b, c); return;
    case T_MULHUU: case T_MULHSS: case T_MULHSU: multiply_high(o, code, d, a, b); return;
    }
}
#endif
