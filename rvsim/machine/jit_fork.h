/* A loop with two ways around: a branch that goes either way, and both ways back to it, as in merging two lists.
 *
 * Processors mispredict such branches. Here each pass computes both ways into spare registers, one after the other, and takes the results
 * of the right one by conditional moves; stores of the wrong one go to the stack, where nobody reads them. Nothing unusual happens here:
 * where the right way leaves a window, or goes where it seldom goes, the pass has changed no register yet, and the ordinary code of that
 * way begins anew, within the budget that this pass had; what happens in the wrong way does not matter. So that it can begin anew, a way
 * may read memory before it writes it only where nothing can fail after the store.
 *
 * It pays where the loads of the next pass need not wait for what this one decides: each way's addresses come from registers that the
 * other does not write.
 *
 * rdx holds what is decided: 1 for the taken way, plus 256 where the branch at the end of a way has stood for the head's own.
 */
#ifndef RVSIM_JIT_FORK_H
#define RVSIM_JIT_FORK_H

enum { WAY_BLOCKS = 4, WAY_INSTRUCTIONS = 20, HEAD_INSTRUCTIONS = 16, WAY_RESULTS = 6 };

/* The one operation of an instruction, -1 without any; -2 when it is more than may be done for nothing, or not in registers. */
static int sole_operation(const struct block *b, uint32_t i)
{
    int handler = b->meta[i].handler, n;
    if (kind_of(b, i) != 1) return -2;
    n = template_starts[handler];
    if (template_starts[handler + 1] == n) return -1;
    if (template_starts[handler + 1] != n + 1) return -2;
    for (int k = 1; k < 5; k++)
        if (template_ops[n][k] >> 6 == 0) return -2;
    return template_ops[n][0];
}

static int can_fail(int code) { return code >= T_LOAD8U && code <= T_STORE32; }

/* What an operand is, apart from where it is: a guest register, or 32 plus a literal. */
static uint64_t named(const struct insn *in, int operand)
{
    int n = operand & 63;
    return operand >> 6 == 1 ? (in->r[n] ? in->r[n] : 32) : 32ull + (operand >> 6 == 2 ? in->k[n] : template_literals[n]);
}

static const uint8_t *last_row(const struct block *b) { return template_ops[template_starts[b->meta[b->count_n - 1].handler + 1] - 1]; }

/* Whether the branch of `b` decides what that of `head` does, for the same ways: 1, or 2 when it is taken where that is not. */
static int decides_for(const struct block *b, const struct block *head)
{
    static const uint8_t turned[] = {[CC_B] = CC_A, [CC_AE] = CC_BE, [CC_E] = CC_E, [CC_NE] = CC_NE, [CC_BE] = CC_AE, [CC_A] = CC_B,
                                     [CC_L] = CC_G, [CC_GE] = CC_LE, [CC_LE] = CC_GE, [CC_G] = CC_L};
    const struct insn *in = &b->code[b->count_n - 1], *of = &head->code[head->count_n - 1];
    const uint8_t *row = last_row(b), *its = last_row(head);
    int inverse = b->target == head->next && b->next == head->target, cc = branch_codes[row[0] - T_BEQ] ^ inverse;
    uint64_t a = named(in, row[2]), e = named(in, row[3]), c = named(of, its[2]), d = named(of, its[3]);
    int its_cc = branch_codes[its[0] - T_BEQ];
    if (head->count_n != 1 || !(inverse || (b->target == head->target && b->next == head->next))) return 0;
    if (!(cc == its_cc && a == c && e == d) && !(turned[cc] == its_cc && a == d && e == c)) return 0;
    return 1 + inverse;
}

/* Add the blocks of one way, from `b` back to the head; 0 where it is no such way. */
static int find_way(struct trace *t, struct fork *f, int way, struct block *b)
{
    struct block *head = t->block;
    int from = t->members, reads = 0, late = 0;
    uint32_t instructions = 0, from_start[32];
    for (int r = 0; r < 32; r++) from_start[r] = r ? 1u << r : 0;
    while (b != head) {
        if (!b || t->members == from + WAY_BLOCKS || !compilable(b) || b->loop || (instructions += b->count_n) > WAY_INSTRUCTIONS) return 0;
        for (int k = from; k < t->members; k++)
            if (t->member[k].block == b) return 0;
        int code = last_operation(b);
        if (code == -2 || code == T_JUMPR) return 0;
        for (uint32_t i = 0; i < b->count_n; i++) {
            int sole = sole_operation(b, i);
            if (sole == -2) return 0;
            if (sole < 0 || is_branch(sole) || sole == T_JUMP) continue;
            const uint8_t *row = template_ops[template_starts[b->meta[i].handler]];
            if (can_fail(sole)) {
                if (late || b->meta[i].interval < 0) return 0;
                reads |= sole < T_STORE8;
                late |= sole >= T_STORE8 && reads;
            }
            uint32_t depends = 0; /* on which registers at the beginning */
            for (int k = 2; k < (can_fail(sole) ? 3 : 5); k++)
                if (row[k] >> 6 == 1) depends |= from_start[b->code[i].r[row[k] & 63]];
            if (sole >= T_LOAD8U && sole < T_STORE8) f->read_by[way] |= depends;
            if (row[1] >> 6 != 1) continue;
            from_start[b->code[i].r[row[1] & 63]] = depends;
            f->written[way] |= 1u << b->code[i].r[row[1] & 63];
        }
        struct member *m = &t->member[t->members];
        m->block = b;
        f->way[t->members++] = (uint8_t)way;
        f->charge[way] += b->charge;
        if (is_branch(code)) {
            int same = f->end ? 0 : decides_for(b, head);
            if (same) {
                f->end = m;
                f->inverse = same == 2;
                break;
            }
            m->path_taken = 2 * b->taken > b->count;
            if (late || 4 * (m->path_taken ? b->count - b->taken : b->taken) > b->count) return 0;
        } else
            m->path_taken = code == T_JUMP;
        b = m->path_taken ? b->target : b->next;
    }
    if (b == head) f->charge[way] += head->charge;
    return __builtin_popcount(f->written[way]) <= WAY_RESULTS;
}

/* Whether a trace that begins with `head` is such a loop: then its members are the head and the blocks of both ways. */
static int find_fork(struct jit *j, struct trace *t, struct fork *f, struct block *head)
{
    t->members = 0;
    memset(f, 0, sizeof *f);
    if (head->misforked == FORK_TRIALS || head->loop || head->count_n > HEAD_INSTRUCTIONS || !is_branch(last_operation(head))) return 0;
    if (head->recent != &head->key || j->hart->dcache) return 0; /* caches see each fetch and access */
    if (!head->next || !head->target || head->next == head->target || is_hammock(head)) return 0;
    for (uint32_t i = 0; i < head->count_n; i++) {
        int sole = sole_operation(head, i);
        if (sole == -2 || (can_fail(sole) && head->meta[i].interval < 0)) return 0;
    }
    t->member[t->members++].block = head;
    if (!find_way(t, f, 0, head->next) || !find_way(t, f, 1, head->target)) return 0;
    uint64_t decided = head->count, taken = head->taken;
    if (f->end) {
        const struct block *b = f->end->block;
        decided += b->count;
        taken += f->inverse ? b->count - b->taken : b->taken;
    }
    if (taken < decided / 4 || taken > decided - decided / 4) return 0;
    return f->read_by[0] && f->read_by[1] && !(f->read_by[0] & f->written[1]) && !(f->read_by[1] & f->written[0]);
}

static int begins_fork(struct jit *j, struct block *b)
{
    struct member member[TRACE_BLOCKS] = {{.block = NULL}};
    struct trace t = {.block = b, .member = member};
    struct fork f;
    return find_fork(j, &t, &f, b);
}

/* ------------------------------------------------------------ code */
struct locals { /* where guest registers are meanwhile */
    uint8_t outside[32]; /* where they are in other traces */
    uint8_t inside[32];
    uint8_t spare[sizeof pinnable];
    uint32_t used, written;
};

static void note_registers(struct block *b, struct locals *l, uint32_t *written, unsigned uses[32])
{
    for (uint32_t i = 0; i < b->count_n; i++) {
        int handler = b->meta[i].handler;
        for (int n = template_starts[handler]; n < template_starts[handler + 1]; n++)
            for (int k = 1; k < 5; k++)
                if (template_ops[n][k] >> 6 == 1 && b->code[i].r[template_ops[n][k] & 63]) {
                    int r = b->code[i].r[template_ops[n][k] & 63];
                    uses[r]++;
                    l->used |= 1u << r;
                    if (k == 1) *written |= 1u << r;
                }
    }
}

/* Spare registers for the results of a way, then host registers for the guest's that are used most. */
static void place_registers(struct jit *j, struct trace *t, struct locals *l)
{
    unsigned uses[32] = {0};
    uint32_t written[3] = {0}, chosen = 0, taken = 0;
    memset(l, 0, sizeof *l);
    memcpy(l->outside, j->host_of, sizeof l->outside);
    for (int k = 0; k < t->members; k++) note_registers(t->member[k].block, l, &written[k ? t->fork->way[k] : 2], uses);
    l->written = written[0] | written[1] | written[2];
    int results[2] = {__builtin_popcount(written[0]), __builtin_popcount(written[1])};
    int spares = results[0] > results[1] ? results[0] : results[1];
    for (int n = spares; n < (int)sizeof pinnable; n++) {
        int best = 0;
        for (int r = 1; r < 32; r++)
            if (!(chosen >> r & 1) && uses[r] > uses[best]) best = r;
        if (!best) break;
        chosen |= 1u << best;
        l->inside[best] = l->outside[best]; /* where they can stay, they do */
        if (l->inside[best]) taken |= 1u << l->inside[best];
    }
    for (int pass = 0; pass < 2; pass++) { /* first registers that nothing is in */
        uint32_t holds = 0;
        for (int r = 1; r < 32; r++) holds |= l->outside[r] ? 1u << l->outside[r] : 0;
        int r = 1, n = 0;
        for (size_t k = 0; k < sizeof pinnable; k++) {
            if (taken >> pinnable[k] & 1 || (!pass && holds >> pinnable[k] & 1)) continue;
            while (r < 32 && !(chosen >> r & 1 && !l->inside[r])) r++;
            if (r < 32) { l->inside[r] = pinnable[k]; taken |= 1u << pinnable[k]; }
            else if (pass && n < spares) { l->spare[n++] = pinnable[k]; taken |= 1u << pinnable[k]; }
        }
    }
    memcpy(j->host_of, l->inside, sizeof l->inside);
}

static int displaced(const struct locals *l, int r)
{
    int busy = l->used >> r & 1;
    for (size_t n = 0; n < sizeof l->spare; n++) busy |= l->spare[n] == l->outside[r];
    for (int g = 1; g < 32; g++) busy |= l->inside[g] == l->outside[r];
    return l->outside[r] && l->inside[r] != l->outside[r] && busy;
}

static void enter_locals(struct out *o, const struct locals *l)
{
    for (int r = 1; r < 32; r++)
        if (displaced(l, r)) rm(o, 0x89, l->outside[r], RDI, H(x) + 4 * r, 0);
    for (int r = 1; r < 32; r++)
        if (l->inside[r] && l->inside[r] != l->outside[r]) rm(o, 0x8b, l->inside[r], RDI, H(x) + 4 * r, 0);
}

static void leave_locals(struct out *o, const struct locals *l)
{
    for (int r = 1; r < 32; r++)
        if (l->inside[r] && l->inside[r] != l->outside[r] && l->written >> r & 1) rm(o, 0x89, l->inside[r], RDI, H(x) + 4 * r, 0);
    for (int r = 1; r < 32; r++)
        if (displaced(l, r)) rm(o, 0x8b, l->outside[r], RDI, H(x) + 4 * r, 0);
}

/* The zero flag says that the way of the branch not taken is the one. */
static void test_decision(struct out *o)
{
    rr(o, 0xf6, 0, RDX, 0); /* dl */
    put8(o, 1);
}

/* Add (3) what a pass takes to the budget, or take (43) it. */
static void charge_pass(struct out *o, struct fork *f, int code)
{
    rr(o, 0x0fb6, RCX, RDX, 0);
    data(o, 0x8d, RAX, f->charge, 1);
    rx(o, code, R15, RAX, RCX, 3, 0, 1, 0);
}

/* An access in its window; in a way, a store goes nowhere unless that is taken. Returns the jump of one outside the window. */
static uint8_t *access_window(struct out *o, const uint8_t *row, const struct insn *in, struct place to, int way)
{
    int code = row[0], scale = log2_size(code), base = RCX;
    struct place a = place_of(o->j, in, row[2]);
    uint32_t offset = place_of(o->j, in, row[3]).v;
    if (a.kind == IN_REGISTER) base = (int)a.v;
    else move(o, RCX, a);
    rm(o, 0x8d, RAX, base, (int32_t)(offset - in->k[1]), 0);
    if (scale) { rr(o, 0xc1, 1, RAX, 0); put8(o, scale); } /* ror */
    arithmetic(o, 7, RAX, (struct place){LITERAL, in->units});
    uint8_t *fails = jump_if(o, CC_AE);
    int64_t first = (int64_t)in->k[1] - (int32_t)offset, last = first + ((int64_t)in->units << scale) - 1;
    int64_t host = (int64_t)(in->host - (uint8_t *)o->j->hart), direct = host - in->k[1] + (int32_t)offset;
    int index = base, origin = RDI;
    if (direct != (int32_t)direct || first < 0 || last > 0xffffffffll) { /* see access_memory */
        load_constant(o, RCX, (uint64_t)(uintptr_t)in->host);
        index = RAX, origin = RCX, direct = 0;
    } else
        scale = 0;
    if (code < T_STORE8) {
        transfer(o, code, to, origin, index, scale, (int32_t)direct);
        return fails;
    }
    rx(o, 0x8d, RAX, origin, index, scale, (int32_t)direct, 1, 0);
    if (way >= 0) {
        test_decision(o);
        rr(o, 0x0f40 | (way ? CC_E : CC_NE), RAX, RSP, 1);
    }
    if (to.kind != IN_REGISTER) { move(o, RCX, to); to = (struct place){IN_REGISTER, RCX}; }
    transfer(o, code, to, RAX, RSP, 0, 0); /* as an index, rsp is none */
    return fails;
}

struct failures { uint8_t *from[WAY_INSTRUCTIONS]; uint32_t at[WAY_INSTRUCTIONS]; int count; };

/* One way: what it computes goes to spare registers, and from there to where it belongs if the way is taken. */
static void emit_side(struct out *o, struct trace *t, int way, const struct locals *l, struct failures *fails)
{
    struct jit *j = o->j;
    int results = 0, guest[WAY_RESULTS];
    for (int k = 1; k < t->members; k++) {
        struct member *m = &t->member[k];
        struct block *b = m->block;
        for (uint32_t i = 0; t->fork->way[k] == way && i < b->count_n; i++) {
            int code = sole_operation(b, i);
            if (code < 0 || code == T_JUMP) continue;
            const struct insn *in = &b->code[i];
            const uint8_t *row = template_ops[template_starts[b->meta[i].handler]];
            struct place a = place_of(j, in, row[2]), e = place_of(j, in, row[3]), c = place_of(j, in, row[4]);
            if (is_branch(code)) {
                m->target = c.v;
                if (m == t->fork->end) continue;
                compare(o, a, e, code == T_BEQ || code == T_BNE);
                fails->from[fails->count++] = jump_if(o, branch_codes[code - T_BEQ] ^ m->path_taken);
                continue;
            }
            if (code >= T_STORE8) { fails->from[fails->count++] = access_window(o, row, in, c, way); continue; }
            int r = in->r[row[1] & 63], n = 0;
            while (n < results && guest[n] != r) n++;
            if (n == results) guest[results++] = r;
            struct place d = {IN_REGISTER, l->spare[n]};
            if (code >= T_LOAD8U) fails->from[fails->count++] = access_window(o, row, in, d, way);
            else compute(o, code, d, a, e, c);
            j->host_of[r] = l->spare[n];
        }
    }
    memcpy(j->host_of, l->inside, sizeof l->inside);
    if (!results) return;
    test_decision(o);
    for (int n = 0; n < results; n++) { /* neither cmov nor mov changes a flag */
        int taken = way ? CC_NE : CC_E, r = guest[n];
        struct place at = {IN_MEMORY, (uint32_t)(H(x) + 4 * r)};
        if (l->inside[r]) rr(o, 0x0f40 | taken, l->inside[r], l->spare[n], 0);
        else { rp(o, 0x0f40 | (taken ^ 1), l->spare[n], at, 0); move_to(o, at, l->spare[n]); }
    }
}

/* The code of such a loop behind its first charge, which is the head's. */
static void emit_fork(struct out *o, struct trace *t)
{
    struct jit *j = o->j;
    struct fork *f = t->fork;
    struct member *h = t->member;
    struct block *head = h->block;
    struct locals l;
    struct failures fails[3] = {{.count = 0}}; /* of the ways, of the head */
    uint8_t *ends[2];
    const uint8_t *row = last_row(head);
    const struct insn *last = &head->code[head->count_n - 1];
    place_registers(j, t, &l);
    enter_locals(o, &l);
    rr(o, 0x31, RDX, RDX, 0);
    const uint8_t *again = o->p;
    for (uint32_t i = 0; i + 1 < head->count_n; i++) {
        const struct insn *in = &head->code[i];
        int code = sole_operation(head, i);
        if (code < 0) continue;
        const uint8_t *op = template_ops[template_starts[head->meta[i].handler]];
        if (can_fail(code)) {
            fails[2].at[fails[2].count] = i;
            fails[2].from[fails[2].count++] = access_window(o, op, in, place_of(j, in, op[code >= T_STORE8 ? 4 : 1]), -1);
        } else
            compute(o, code, place_of(j, in, op[1]), place_of(j, in, op[2]), place_of(j, in, op[3]), place_of(j, in, op[4]));
    }
    h->target = place_of(j, last, row[4]).v;
    compare(o, place_of(j, last, row[2]), place_of(j, last, row[3]), row[0] == T_BEQ || row[0] == T_BNE);
    rr(o, 0x0f90 | branch_codes[row[0] - T_BEQ], 0, RDX, 0); /* dl */
    charge_pass(o, f, 0x2b);
    data(o, 0x85, R15, j->exhausted, 1);
    uint8_t *out_of_fuel = jump_if(o, CC_NE);
    for (int way = 0; way < 2; way++) {
        emit_side(o, t, way, &l, &fails[way]);
        ends[way] = o->p;
    }
    data(o, 0x8d, RAX, f->decided, 1);
    rr(o, 0x0fb6, RCX, RDX, 0);
    if (f->end) {
        rx(o, 0x8d, RAX, RAX, RCX, 3, 0, 1, 0);
        rr(o, 0x0fb6, RCX, RSI, 0); /* dh */
        rr(o, 0x01, RCX, RCX, 0);
    }
    rx(o, 0xff, 0, RAX, RCX, 3, 0, 1, 0);
    if (f->end) { /* who decides next: the end of the way just done, or the head */
        if (f->way[f->end - t->member] == 0) arithmetic(o, 6, RDX, (struct place){LITERAL, 1});
        rr(o, 0x0fb6, RDX, RDX, 0);
        rr(o, 0xc1, 4, RDX, 0);
        put8(o, 8);
    }
    jump_to(o, again);
    uint8_t *leaves[2];
    for (int way = 0; way < 2; way++) {
        for (int n = 0; n < fails[way].count; n++) land(o, fails[way].from[n]);
        test_decision(o);
        aim(jump_if(o, way ? CC_E : CC_NE), ends[way]); /* the other one is taken: no matter */
        leaves[way] = o->p;
        charge_pass(o, f, 0x03);
        leave_locals(o, &l);
        if (f->end) {
            rr(o, 0xf6, 0, RSI, 0); /* dh */
            put8(o, 1);
            uint8_t *head_decided = jump_if(o, CC_E);
            emit_way(o, f->end, way ^ f->inverse);
            land(o, head_decided);
        }
        emit_way(o, h, way);
    }
    land(o, out_of_fuel);
    test_decision(o);
    aim(jump_if(o, CC_E), leaves[0]);
    jump_to(o, leaves[1]);
    for (int n = 0; n < fails[2].count; n++) { /* the interpreter goes on at that instruction of the head */
        land(o, fails[2].from[n]);
        leave_locals(o, &l);
        count_up(o, &h->ended);
        load_constant(o, RAX, (uint64_t)(uintptr_t)&head->code[fails[2].at[n]]);
        rm(o, 0x89, RAX, RDI, H(native_insn), 1);
        leave_with(o, NATIVE_RESUME, head);
    }
    memcpy(j->host_of, l.outside, sizeof l.outside);
}
#endif
