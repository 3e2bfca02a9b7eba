/* Compiled blocks for x86-64: each instruction's template (rvsim/isa/template.py) becomes bytes of the host.
 *
 * Compiled code keeps no second truth. It counts in struct block, uses the guest registers of struct hart (the busiest ones live in host
 * registers while it runs), takes the same charge from the same budget, and leaves to the interpreter whatever has no template.
 *
 * Host registers: rdi struct hart; esi and r15d what is left of the budget, instructions and cycles; rax, rdx the templates' temporaries;
 * rcx is nobody's; the others are pinned guest registers. Nothing below is used where RVSIM_JIT_HOST is 0.
 */
#ifndef RVSIM_JIT_H
#define RVSIM_JIT_H
#include <stddef.h>
#include <stdlib.h>

#if defined(__x86_64__) && (defined(__linux__) || defined(__APPLE__))
#define RVSIM_JIT_HOST 1
#include <sys/mman.h>
#else
#define RVSIM_JIT_HOST 0
#endif

/* How compiled code comes back. */
enum { NATIVE_NEXT, NATIVE_TAKEN, NATIVE_INDIRECT, NATIVE_ENTER, NATIVE_RESUME, NATIVE_TRAP, NATIVE_MODIFIED, NATIVE_FUEL };

struct compiled { /* of one block */
    struct block *block;
    uint8_t *chain, *body, *end; /* where other blocks jump to, which charges and counts; behind that; behind all */
    uint8_t *jump[2], *way[2]; /* the jumps to the successors, next and taken, NULL without one; where they lead while there is none */
};

struct jit {
    uint8_t *arena, *at, *limit; /* code memory, its first free byte, its end */
    int (*enter)(struct hart *, const void *);
    uint8_t *leave, *leave_stored, *uncompiled;
    uint8_t *load[3], *store[3], *call; /* by log2 of the size */
    uint8_t host_of[32];         /* host register of a guest register, 0 for none (rax is never one) */
    uint8_t guest[9];
    int pins;
    struct compiled **list;
    int count, room;
    int writable, full;
    uint64_t looks, next_choice; /* for blocks to compile, and when the pinned registers are chosen again */
};

#if RVSIM_JIT_HOST
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { ARENA = 32 << 20, BLOCK_ROOM = 1 << 15, STUBS_ROOM = 1 << 13 };
enum { TEMPLATE_CODES };
static const uint8_t pinnable[9] = {RBX, RBP, R8, R9, R10, R11, R12, R13, R14};
static const uint8_t template_ops[][5] = {TEMPLATE_OPS};
static const uint32_t template_literals[] = {TEMPLATE_LITERALS};
/* Handlers that belong to no instruction of the description have none. */
static const uint16_t template_starts[HANDLERS_ALL + 1] = {TEMPLATE_STARTS};
static const uint8_t template_kinds[HANDLERS_ALL] = {TEMPLATE_KINDS};
static void (*const template_functions[HANDLER_COUNT])(struct hart *, struct insn *) = {TEMPLATE_FUNCTIONS};

#define H(field) ((int32_t)offsetof(struct hart, field))

/* ------------------------------------------------------------ bytes */
struct out { uint8_t *p; struct jit *j; };
struct place { int kind; uint32_t v; }; /* where a value is */
enum { IN_REGISTER, IN_MEMORY, LITERAL }; /* memory: offset from rdi */

static void put8(struct out *o, int v) { *o->p++ = (uint8_t)v; }
static void put32(struct out *o, uint32_t v) { memcpy(o->p, &v, 4); o->p += 4; }
static void put64(struct out *o, uint64_t v) { memcpy(o->p, &v, 8); o->p += 8; }

/* REX and opcode (up to 0x0fXX); wide: 64-bit operands; byte: the registers 4 to 7 are spl to dil. */
static void opcode(struct out *o, int code, int reg, int index, int base, int wide, int byte)
{
    int rex = wide << 3 | reg >> 3 << 2 | index >> 3 << 1 | base >> 3;
    if (rex || byte) put8(o, 0x40 | rex);
    if (code > 0xff) put8(o, code >> 8);
    put8(o, code);
}
static void rr(struct out *o, int code, int reg, int rm, int wide)
{
    opcode(o, code, reg, 0, rm, wide, 0);
    put8(o, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
static void rm(struct out *o, int code, int reg, int base, int32_t offset, int wide)
{
    opcode(o, code, reg, 0, base, wide, 0);
    int small = offset == (int8_t)offset;
    put8(o, (small ? 0x40 : 0x80) | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == RSP) put8(o, 0x24);
    if (small) put8(o, offset); else put32(o, (uint32_t)offset);
}
/* [base + index << scale + offset] */
static void rx(struct out *o, int code, int reg, int base, int index, int scale, int32_t offset, int wide, int byte)
{
    opcode(o, code, reg, index, base, wide, byte);
    put8(o, 0x80 | (reg & 7) << 3 | RSP);
    put8(o, scale << 6 | (index & 7) << 3 | (base & 7));
    put32(o, (uint32_t)offset);
}
/* Register and any place. */
static void rp(struct out *o, int code, int reg, struct place b, int wide)
{
    if (b.kind == IN_REGISTER) rr(o, code, reg, (int)b.v, wide);
    else rm(o, code, reg, RDI, (int32_t)b.v, wide);
}
static void load_constant(struct out *o, int reg, uint64_t v)
{
    if (v <= 0xffffffffu) {
        if (reg >> 3) put8(o, 0x41);
        put8(o, 0xb8 | (reg & 7));
        put32(o, (uint32_t)v);
    } else {
        put8(o, 0x48 | reg >> 3);
        put8(o, 0xb8 | (reg & 7));
        put64(o, v);
    }
}
static void move(struct out *o, int reg, struct place b)
{
    if (b.kind == LITERAL) load_constant(o, reg, b.v);
    else if (b.kind == IN_MEMORY) rm(o, 0x8b, reg, RDI, (int32_t)b.v, 0);
    else if ((int)b.v != reg) rr(o, 0x8b, reg, (int)b.v, 0);
}
static void move_to(struct out *o, struct place d, int reg)
{
    if (d.kind == IN_MEMORY) rm(o, 0x89, reg, RDI, (int32_t)d.v, 0);
    else if ((int)d.v != reg) rr(o, 0x8b, (int)d.v, reg, 0);
}
/* add 0, or 1, and 4, sub 5, xor 6, cmp 7 */
static void arithmetic(struct out *o, int n, int reg, struct place b)
{
    if (b.kind != LITERAL) { rp(o, n << 3 | 3, reg, b, 0); return; }
    int small = (int32_t)b.v == (int8_t)b.v;
    rr(o, small ? 0x83 : 0x81, n, reg, 0);
    if (small) put8(o, (int)b.v); else put32(o, b.v);
}
static void jump_to(struct out *o, const uint8_t *to) { put8(o, 0xe9); put32(o, (uint32_t)(to - (o->p + 4))); }
static void call_to(struct out *o, const uint8_t *to) { put8(o, 0xe8); put32(o, (uint32_t)(to - (o->p + 4))); }
/* A conditional jump forwards, 32 bits; returns where its distance is. */
static uint8_t *jump_if(struct out *o, int cc) { put8(o, 0x0f); put8(o, 0x80 | cc); put32(o, 0); return o->p - 4; }
static void land(struct out *o, uint8_t *distance)
{
    uint32_t d = (uint32_t)(o->p - (distance + 4));
    memcpy(distance, &d, 4);
}
enum { CC_B = 2, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_L = 12, CC_GE, CC_LE, CC_G };

/* Add one to a 64-bit counter; rcx is lost. */
static void count_up(struct out *o, uint64_t *counter)
{
    int64_t distance = (int64_t)((uint8_t *)counter - (o->p + 7));
    if (distance == (int32_t)distance) {
        put8(o, 0x48); put8(o, 0xff); put8(o, 0x05); put32(o, (uint32_t)distance);
    } else {
        load_constant(o, RCX, (uint64_t)(uintptr_t)counter);
        put8(o, 0x48); put8(o, 0xff); put8(o, 0x01);
    }
}
static void leave_with(struct out *o, int code, struct block *b)
{
    load_constant(o, RAX, (uint64_t)(uintptr_t)b);
    rm(o, 0x89, RAX, RDI, H(native_block), 1);
    load_constant(o, RAX, (uint64_t)code);
    jump_to(o, o->j->leave);
}

/* ------------------------------------------------------------ templates */
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
        if (b.v & 31) { rr(o, 0xc1, n, t, 0); put8(o, b.v & 31); }
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

static void compare(struct out *o, struct place a, struct place b)
{
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

struct miss { /* an access that leaves the straight line */
    uint8_t *from, *back;
    struct insn *in;
    struct place to;
    int code, roams;
    uint32_t base;
};

static int log2_size(int code) { return code == T_LOAD8U || code == T_LOAD8S || code == T_STORE8 ? 0 : code == T_LOAD32 || code == T_STORE32 ? 2 : 1; }

/* Read or write [base + rcx << scale]. */
static void memory_operation(struct out *o, int code, int reg, int base)
{
    static const int loads[] = {0x0fb6, 0x0fbe, 0x0fb7, 0x0fbf, 0x8b};
    int scale = log2_size(code);
    if (code < T_STORE8)
        rx(o, loads[code - T_LOAD8U], reg, base, RCX, scale, 0, 0, 0);
    else {
        if (scale == 1) put8(o, 0x66);
        rx(o, scale ? 0x89 : 0x88, reg, base, RCX, scale, 0, 0, scale == 0);
    }
}

static void access_memory(struct out *o, int code, struct insn *in, const struct meta *m, struct place d, struct place a, struct place b,
                          struct place value, struct miss *miss)
{
    int scale = log2_size(code), is_store = code >= T_STORE8;
    uint32_t base = m->roams ? 0 : in->k[1];
    *miss = (struct miss){NULL, NULL, in, is_store ? value : d, code, m->roams, base};
    if (a.kind == IN_REGISTER) {
        if (b.v - base) rm(o, 0x8d, RCX, (int)a.v, (int32_t)(b.v - base), 0);
        else move(o, RCX, a);
    } else {
        move(o, RCX, a);
        if (b.v - base) arithmetic(o, 0, RCX, (struct place){LITERAL, b.v - base});
    }
    if (m->roams) {
        load_constant(o, RAX, (uint64_t)(uintptr_t)in);
        rm(o, 0x2b, RCX, RAX, offsetof(struct insn, k) + 4, 0);
    }
    if (scale) { rr(o, 0xc1, 1, RCX, 0); put8(o, scale); } /* ror */
    if (m->roams) rm(o, 0x3b, RCX, RAX, offsetof(struct insn, units), 0);
    else if (m->interval < 0) { /* no window yet: always out of line */
        put8(o, 0xe9);
        put32(o, 0);
        miss->from = o->p - 4;
        miss->back = o->p;
        return;
    } else { rr(o, 0x81, 7, RCX, 0); put32(o, in->units); }
    miss->from = jump_if(o, CC_AE);
    if (m->roams) rm(o, 0x8b, RAX, RAX, offsetof(struct insn, host), 1);
    else load_constant(o, RAX, (uint64_t)(uintptr_t)in->host);
    if (is_store) {
        int reg = RDX;
        if (value.kind == IN_REGISTER) reg = (int)value.v;
        else move(o, RDX, value);
        memory_operation(o, code, reg, RAX);
    } else {
        int reg = d.kind == IN_REGISTER ? (int)d.v : RCX;
        memory_operation(o, code, reg, RAX);
        move_to(o, d, reg);
    }
    miss->back = o->p;
}

static void emit_miss(struct out *o, struct miss *m, struct block *b)
{
    static const int extends[] = {0x0fb6, 0x0fbe, 0x0fb7, 0x0fbf, 0x8b};
    int scale = log2_size(m->code);
    land(o, m->from);
    if (scale) { rr(o, 0xc1, 0, RCX, 0); put8(o, scale); } /* rol: back to the distance, and to the address */
    if (m->roams) rm(o, 0x03, RCX, RAX, offsetof(struct insn, k) + 4, 0);
    else if (m->base) arithmetic(o, 0, RCX, (struct place){LITERAL, m->base});
    if (m->code >= T_STORE8) move(o, RDX, m->to);
    load_constant(o, RAX, (uint64_t)(uintptr_t)b);
    rm(o, 0x89, RAX, RDI, H(native_block), 1);
    load_constant(o, RAX, (uint64_t)(uintptr_t)m->in);
    call_to(o, m->code >= T_STORE8 ? o->j->store[scale] : o->j->load[scale]);
    if (m->code < T_STORE8) {
        int reg = m->to.kind == IN_REGISTER ? (int)m->to.v : RCX;
        rr(o, extends[m->code - T_LOAD8U], reg, RAX, 0);
        move_to(o, m->to, reg);
    }
    jump_to(o, m->back);
}

/* ------------------------------------------------------------ what compiled code calls */
static int native_load(struct hart *h, uint32_t address, uint32_t unused, int size)
{
    (void)unused;
    h->native_block->misses++;
    h->native_value = 0;
    return h->load(h, h->native_block, h->native_insn, address, size, &h->native_value);
}
static int native_store(struct hart *h, uint32_t address, uint32_t value, int size)
{
    h->native_block->misses++;
    if (size < 4) value &= (1u << 8 * size) - 1;
    return h->store(h, h->native_block, h->native_insn, address, size, value);
}

static void spill(struct out *o) { for (int n = 0; n < o->j->pins; n++) rm(o, 0x89, pinnable[n], RDI, H(x) + 4 * o->j->guest[n], 0); }
static void reload(struct out *o) { for (int n = 0; n < o->j->pins; n++) rm(o, 0x8b, pinnable[n], RDI, H(x) + 4 * o->j->guest[n], 0); }

/* Code that all blocks share. */
static void emit_stubs(struct jit *j)
{
    static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};
    struct out out = {j->arena, j}, *o = &out;
    j->enter = (int (*)(struct hart *, const void *))(uintptr_t)o->p;
    for (int n = 0; n < 6; n++) { if (saved[n] >> 3) put8(o, 0x41); put8(o, 0x50 | (saved[n] & 7)); }
    put8(o, 0x48); put8(o, 0x83); put8(o, 0xec); put8(o, 8); /* sub rsp, 8 */
    rr(o, 0x8b, RAX, RSI, 1);
    rm(o, 0x8b, RSI, RDI, H(fuel) + 4, 0);
    rm(o, 0x8b, R15, RDI, H(fuel), 0);
    reload(o);
    put8(o, 0xff); put8(o, 0xe0); /* jmp rax */
    j->uncompiled = o->p; /* rcx: a block that an indirect jump goes to */
    rm(o, 0x89, RCX, RDI, H(native_block), 1);
    load_constant(o, RAX, NATIVE_ENTER);
    j->leave = o->p; /* eax: how */
    spill(o);
    j->leave_stored = o->p;
    rm(o, 0x89, RSI, RDI, H(fuel) + 4, 0);
    rm(o, 0x89, R15, RDI, H(fuel), 0);
    put8(o, 0x48); put8(o, 0x83); put8(o, 0xc4); put8(o, 8);
    for (int n = 5; n >= 0; n--) { if (saved[n] >> 3) put8(o, 0x41); put8(o, 0x58 | (saved[n] & 7)); }
    put8(o, 0xc3);
    for (int n = 0; n < 7; n++) { /* loads and stores: rax instruction, ecx address, edx value; a function: rax instruction, rcx function */
        uint8_t **stub = n < 3 ? &j->load[n] : n < 6 ? &j->store[n - 3] : &j->call;
        *stub = o->p;
        spill(o);
        put8(o, 0x57); put8(o, 0x56); /* push rdi, rsi */
        put8(o, 0x48); put8(o, 0x83); put8(o, 0xec); put8(o, 8);
        rm(o, 0x89, RSI, RDI, H(fuel) + 4, 0);
        rm(o, 0x89, R15, RDI, H(fuel), 0);
        if (n < 6) {
            rm(o, 0x89, RAX, RDI, H(native_insn), 1);
            rr(o, 0x8b, RSI, RCX, 0);
            load_constant(o, RCX, 1u << n % 3);
            load_constant(o, RAX, (uint64_t)(uintptr_t)(n < 3 ? native_load : native_store));
            put8(o, 0xff); put8(o, 0xd0); /* call rax */
        } else {
            rr(o, 0x8b, RSI, RAX, 1);
            put8(o, 0xff); put8(o, 0xd1);
        }
        put8(o, 0x48); put8(o, 0x83); put8(o, 0xc4); put8(o, 8);
        put8(o, 0x5e); put8(o, 0x5f); /* pop rsi, rdi */
        if (n < 6) {
            rr(o, 0x85, RAX, RAX, 0);
            uint8_t *fails = jump_if(o, CC_NE);
            reload(o);
            rm(o, 0x8b, RAX, RDI, H(native_value), 0);
            put8(o, 0xc3);
            land(o, fails); /* 1 trap, 2 modified */
            put8(o, 0x48); put8(o, 0x83); put8(o, 0xc4); put8(o, 8); /* the return address */
            rm(o, 0x8d, RAX, RAX, NATIVE_TRAP - 1, 0);
            jump_to(o, j->leave_stored);
        } else {
            reload(o);
            put8(o, 0xc3);
        }
    }
    j->at = j->arena + STUBS_ROOM;
}

#include "jit_routine.h"

/* ------------------------------------------------------------ blocks */
/* 0 for the interpreter, 1 template, 2 function, 3 routine that only computes. */
static int kind_of(struct block *b, uint32_t i)
{
    int handler = b->meta[i].handler;
    if (handler == HANDLER_ROUTINE) return 3;
    if (handler >= HANDLER_COUNT) return 0;
    if (template_kinds[handler] == 1)
        for (int n = template_starts[handler]; n < template_starts[handler + 1]; n++)
            if (template_ops[n][1] >> 6 == 1 && !b->code[i].r[template_ops[n][1] & 63]) return 0; /* x0 keeps its value */
    return template_kinds[handler];
}

static int compilable(struct block *b)
{
    return b->listed == 1 && !b->dead && kind_of(b, 0);
}

/* The successor that a patched jump may lead to. */
static const uint8_t *successor(struct compiled *c, int taken)
{
    struct block *to = taken ? c->block->target : c->block->next;
    return to && !to->dead && !c->block->dead && to->compiled ? to->compiled->chain : c->way[taken];
}
static int jit_link_all(struct jit *j, int dry)
{
    for (int i = 0; i < j->count; i++)
        for (int n = 0; n < 2; n++) {
            struct compiled *c = j->list[i];
            if (!c->jump[n]) continue;
            uint32_t distance = (uint32_t)(successor(c, n) - (c->jump[n] + 4));
            if (memcmp(c->jump[n], &distance, 4)) {
                if (dry) return 1;
                memcpy(c->jump[n], &distance, 4);
            }
        }
    return 0;
}

static int compile_block(struct jit *j, struct block *b)
{
    struct out out = {j->at, j}, *o = &out;
    struct miss misses[64];
    int missed = 0, ended = 0;
    struct compiled *c;
    if (j->limit - j->at < BLOCK_ROOM) { j->full = 1; return 0; }
    if (j->count == j->room) {
        struct compiled **grown = realloc(j->list, (size_t)(j->room + 256) * sizeof *grown);
        if (!grown) return 0;
        j->list = grown;
        j->room += 256;
    }
    c = calloc(1, sizeof *c);
    if (!c) return 0;
    c->block = b;
    c->chain = o->p;
    arithmetic(o, 5, RSI, (struct place){LITERAL, (uint32_t)(b->charge >> 32)});
    uint8_t *no_instructions = jump_if(o, CC_B);
    arithmetic(o, 5, R15, (struct place){LITERAL, (uint32_t)b->charge});
    uint8_t *no_cycles = jump_if(o, CC_B);
    count_up(o, &b->count);
    c->body = o->p;
    for (uint32_t i = 0; i < b->count_n && !ended; i++) {
        struct insn *in = &b->code[i];
        struct meta *m = &b->meta[i];
        int kind = kind_of(b, i);
        if (!kind) {
            load_constant(o, RAX, (uint64_t)(uintptr_t)in);
            rm(o, 0x89, RAX, RDI, H(native_insn), 1);
            leave_with(o, NATIVE_RESUME, b);
            ended = 1;
            break;
        }
        if (kind == 3 && emit_routine(o, (const struct routine *)in->host)) continue;
        if (kind >= 2) {
            load_constant(o, RAX, (uint64_t)(uintptr_t)in);
            load_constant(o, RCX, (uint64_t)(uintptr_t)(kind == 3 ? routine_call : template_functions[m->handler]));
            call_to(o, j->call);
            continue;
        }
        for (int n = template_starts[m->handler]; n < template_starts[m->handler + 1]; n++) {
            const uint8_t *op = template_ops[n];
            int code = op[0];
            struct place d = place_of(j, in, op[1]), a = place_of(j, in, op[2]), e = place_of(j, in, op[3]), f = place_of(j, in, op[4]);
            switch (code) {
            case T_MOV:
                if (d.kind == IN_REGISTER) move(o, (int)d.v, a);
                else { move(o, RCX, a); move_to(o, d, RCX); }
                break;
            case T_ADD: case T_SUB: case T_AND: case T_OR: case T_XOR: case T_MUL: two_operands(o, code, d, a, e); break;
            case T_SHL: case T_SHR: case T_SAR: shift(o, code, d, a, e); break;
            case T_SEXT8: case T_SEXT16: case T_ZEXT8: case T_ZEXT16: extend(o, code, d, a); break;
            case T_SEQ: case T_SLTU: case T_SLT: case T_SLEU: case T_SLE:
                compare(o, a, e);
                rr(o, 0x0f90 | set_codes[code - T_SEQ], 0, RCX, 0);
                rr(o, 0x0fb6, d.kind == IN_REGISTER ? (int)d.v : RCX, RCX, 0);
                if (d.kind == IN_MEMORY) move_to(o, d, RCX);
                break;
            case T_SELECT: select_one(o, d, a, e, f); break;
            case T_MULHUU: case T_MULHSS: case T_MULHSU: multiply_high(o, code, d, a, e); break;
            case T_JUMP:
                ended = 1;
                count_up(o, &b->taken);
                put8(o, 0xe9); put32(o, 0);
                c->jump[1] = o->p - 4;
                c->way[1] = (uint8_t *)(uintptr_t)a.v; /* the target, until its way out is known */
                break;
            case T_JUMPR: {
                ended = 1;
                if (a.kind != IN_REGISTER || a.v != RAX) move(o, RAX, a);
                count_up(o, &b->taken);
                rr(o, 0x8b, RCX, RAX, 0);
                rr(o, 0xd1, 5, RCX, 0); /* shr 1 */
                arithmetic(o, 4, RCX, (struct place){LITERAL, JUMP_CACHE - 1});
                rx(o, 0x8b, RCX, RDI, RCX, 3, H(jump), 1, 0);
                rm(o, 0x39, RAX, RCX, offsetof(struct block, pc), 0);
                uint8_t *other = jump_if(o, CC_NE);
                rm(o, 0xff, 0, RCX, offsetof(struct block, entered), 1);
                rm(o, 0xff, 4, RCX, offsetof(struct block, chain), 0);
                land(o, other);
                rm(o, 0x89, RAX, RDI, H(pc), 0);
                leave_with(o, NATIVE_INDIRECT, b);
                break;
            }
            default:
                if (code >= T_BEQ) {
                    ended = 1;
                    compare(o, a, e);
                    uint8_t *not_taken = jump_if(o, branch_codes[code - T_BEQ] ^ 1);
                    count_up(o, &b->taken);
                    put8(o, 0xe9); put32(o, 0);
                    c->jump[1] = o->p - 4;
                    c->way[1] = (uint8_t *)(uintptr_t)f.v;
                    land(o, not_taken);
                    put8(o, 0xe9); put32(o, 0);
                    c->jump[0] = o->p - 4;
                } else {
                    access_memory(o, code, in, m, d, a, e, f, &misses[missed++]);
                }
            }
        }
    }
    if (!ended) {
        put8(o, 0xe9); put32(o, 0);
        c->jump[0] = o->p - 4;
    }
    if (c->jump[1]) {
        uint32_t target = (uint32_t)(uintptr_t)c->way[1];
        c->way[1] = o->p;
        load_constant(o, RAX, target);
        rm(o, 0x89, RAX, RDI, H(pc), 0);
        leave_with(o, NATIVE_TAKEN, b);
        uint32_t distance = (uint32_t)(c->way[1] - (c->jump[1] + 4));
        memcpy(c->jump[1], &distance, 4);
    }
    if (c->jump[0]) {
        c->way[0] = o->p;
        leave_with(o, NATIVE_NEXT, b);
        uint32_t distance = (uint32_t)(c->way[0] - (c->jump[0] + 4));
        memcpy(c->jump[0], &distance, 4);
    }
    land(o, no_cycles);
    arithmetic(o, 0, R15, (struct place){LITERAL, (uint32_t)b->charge});
    land(o, no_instructions);
    arithmetic(o, 0, RSI, (struct place){LITERAL, (uint32_t)(b->charge >> 32)});
    leave_with(o, NATIVE_FUEL, b);
    for (int n = 0; n < missed; n++) emit_miss(o, &misses[n], b);
    for (uint32_t i = 0; i < b->count_n; i++) b->meta[i].frozen = !b->meta[i].roams;
    c->end = o->p;
    j->at = (uint8_t *)(((uintptr_t)o->p + 15) & ~(uintptr_t)15);
    j->list[j->count++] = c;
    b->compiled = c;
    b->chain = c->chain;
    b->native.k[0] = 0;
    b->native.handler = handler_address[HANDLER_NATIVE];
    b->entry = &b->native;
    b->misses = 0;
    return 1;
}

/* Give a block back to the interpreter; the list is put right by jit_drop. */
static void forget_compiled(struct block *b)
{
    b->entry = b->loop ? &b->counted : b->code;
    b->chain = NULL;
    b->compiled = NULL;
    for (uint32_t i = 0; i < b->count_n; i++) b->meta[i].frozen = 0;
}

/* The guest registers that instructions executed most often use; whether those pinned now do worse by an eighth. */
static int choose_pins(struct jit *j, struct block **blocks, int count)
{
    uint64_t uses[32] = {0}, before = 0, now = 0;
    for (int n = 0; n < count; n++) {
        struct block *b = blocks[n];
        for (uint32_t i = 0; i < b->count_n; i++) {
            if (b->meta[i].handler >= HANDLER_COUNT || template_kinds[b->meta[i].handler] != 1) continue;
            for (int t = template_starts[b->meta[i].handler]; t < template_starts[b->meta[i].handler + 1]; t++)
                for (int k = 1; k < 5; k++)
                    if (template_ops[t][k] >> 6 == 1) uses[b->code[i].r[template_ops[t][k] & 63] & 31] += b->count;
        }
    }
    uint8_t host_of[32] = {0}, guest[9];
    int pins;
    for (pins = 0; pins < 9; pins++) {
        int best = 0;
        for (int r = 1; r < 32; r++)
            if (!host_of[r] && uses[r] && (!best || uses[r] > uses[best])) best = r;
        if (!best) break;
        host_of[best] = pinnable[pins];
        guest[pins] = (uint8_t)best;
        now += uses[best];
    }
    for (int n = 0; n < j->pins; n++) before += uses[j->guest[n]];
    if (now <= before + before / 8) return 0;
    memcpy(j->host_of, host_of, sizeof host_of);
    memcpy(j->guest, guest, sizeof guest);
    j->pins = pins;
    return 1;
}

static int jit_writable(struct jit *j, int writable)
{
    if (j->writable == writable) return 1;
    if (mprotect(j->arena, ARENA, writable ? PROT_READ | PROT_WRITE : PROT_READ | PROT_EXEC)) return 0;
    j->writable = writable;
    return 1;
}
#endif

/* Code memory, or NULL where compiled code cannot be had. */
static struct jit *jit_new(void)
{
#if RVSIM_JIT_HOST
    struct jit *j = calloc(1, sizeof *j);
    if (!j) return NULL;
    j->arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (j->arena == MAP_FAILED) { free(j); return NULL; }
    j->writable = 1;
    j->limit = j->arena + ARENA;
    if (!jit_writable(j, 0)) { munmap(j->arena, ARENA); free(j); return NULL; }
    return j;
#else
    return NULL;
#endif
}

static void jit_free(struct jit *j)
{
    if (!j) return;
#if RVSIM_JIT_HOST
    for (int i = 0; i < j->count; i++) free(j->list[i]);
    munmap(j->arena, ARENA);
#endif
    free(j->list);
    free(j);
}

/* Take dead blocks, and those that `unwanted` marks, out of compiled code: no jump leads to them afterwards. 0 when memory refuses. */
static int jit_drop(struct jit *j)
{
#if RVSIM_JIT_HOST
    int kept = 0, some = 0;
    for (int i = 0; i < j->count; i++)
        if (j->list[i]->block->dead || j->list[i]->block->unwanted) {
            forget_compiled(j->list[i]->block);
            j->list[i]->block->chain = j->uncompiled;
            some = 1;
        }
    if (!some) return 1;
    if (jit_link_all(j, 1)) {
        if (!jit_writable(j, 1)) return 0;
        jit_link_all(j, 0);
        if (!jit_writable(j, 0)) return 0;
    }
    for (int i = 0; i < j->count; i++) {
        if (j->list[i]->block->compiled == j->list[i]) j->list[kept++] = j->list[i];
        else { j->list[i]->block->unwanted = 0; free(j->list[i]); }
    }
    j->count = kept;
#else
    (void)j;
#endif
    return 1;
}

/* Between two runs: compile the blocks entered often enough; what misses its windows is compiled anew. 0 when memory refuses. */
static int jit_compile_hot(struct jit *j, struct block **blocks, int count, uint64_t threshold, uint64_t misses)
{
#if RVSIM_JIT_HOST
    int again = 0, wanted = 0, fresh = !j->at || j->full;
    /* Other registers may have become the busiest: then everything is compiled anew. */
    if (++j->looks >= j->next_choice) {
        j->next_choice = 2 * j->looks;
        fresh |= choose_pins(j, blocks, count);
    }
    for (int i = 0; i < count; i++) {
        struct block *b = blocks[i];
        if (b->compiled && b->misses > misses) {
            for (uint32_t k = 0; k < b->count_n; k++) b->meta[k].roams = 1;
            b->unwanted = 1;
            again = 1;
        }
        wanted |= !b->compiled && b->count >= threshold && compilable(b);
    }
    if (fresh) {
        for (int i = 0; i < j->count; i++) j->list[i]->block->unwanted = 1;
        again = 1;
    }
    if (again && !jit_drop(j)) return 0;
    if (!again && !wanted && !jit_link_all(j, 1)) return 1;
    if (!jit_writable(j, 1)) return 0;
    if (fresh) {
        j->full = 0;
        emit_stubs(j);
        for (int i = 0; i < count; i++) blocks[i]->chain = j->uncompiled;
    }
    for (int i = 0; i < count && !j->full; i++)
        if (!blocks[i]->compiled && blocks[i]->count >= threshold && compilable(blocks[i])) compile_block(j, blocks[i]);
    jit_link_all(j, 0);
    return jit_writable(j, 0);
#else
    (void)j, (void)blocks, (void)count, (void)threshold, (void)misses;
    return 0;
#endif
}

static inline const uint8_t *jit_uncompiled(struct jit *j) { return j ? j->uncompiled : NULL; }
#endif
