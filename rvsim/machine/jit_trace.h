/* Traces: which blocks follow each other, and their code.
 *
 * A trace charges for all its blocks at its entry, and gives back at each way out what it did not reach. A short block that a branch jumps
 * over is computed in any case, and its results are taken or not (conditional moves): such branches are what processors predict worst.
 */
#ifndef RVSIM_JIT_TRACE_H
#define RVSIM_JIT_TRACE_H
#include "jit_access.h"
#include "jit_pages.h"
#include "jit_routine.h"

enum { DATA_ROOM = 1 << 16, HAMMOCK_INSTRUCTIONS = 4, HAMMOCK_RESULTS = 2, UNROLL = 4, UNROLL_INSTRUCTIONS = 48 };

static const uint8_t pinnable[10] = {RBX, RBP, RSI, R8, R9, R10, R11, R12, R13, R14};

/* ------------------------------------------------------------ which blocks */
static int compilable(const struct block *b) { return b->listed == 1 && !b->dead && kind_of(b, 0); }

/* The operation that ends a block: a branch, T_JUMP, T_JUMPR; -1 where it runs into the next, -2 where the interpreter goes on. */
static int last_operation(const struct block *b)
{
    if (b->hwloop) return -2;
    for (uint32_t i = 0; i < b->count_n; i++)
        if (!kind_of(b, i)) return -2;
    const struct meta *m = &b->meta[b->count_n - 1];
    if (kind_of(b, b->count_n - 1) != 1) return -1;
    int n = template_starts[m->handler + 1] - 1;
    if (n < template_starts[m->handler]) return -1;
    int code = template_ops[n][0];
    return code == T_JUMP || code == T_JUMPR || code >= T_BEQ ? code : -1;
}

static int is_branch(int code) { return code >= T_BEQ && code <= T_BGE; }

/* Whether instructions up to `end` only compute, one operation each, so that their results may be taken or left. */
static int skippable(const struct block *b, uint32_t end)
{
    uint32_t i, written = 0;
    for (i = 0; i < b->count_n && b->pc + b->meta[i].offset != end; i++) {
        int handler = b->meta[i].handler, n;
        if (i == HAMMOCK_INSTRUCTIONS || kind_of(b, i) != 1) return 0;
        n = template_starts[handler];
        if (template_starts[handler + 1] == n) continue;
        const uint8_t *op = template_ops[n];
        int code = op[0];
        if (template_starts[handler + 1] != n + 1 || op[1] >> 6 != 1) return 0;
        written |= 1u << b->code[i].r[op[1] & 63];
        for (int k = 2; k < 5; k++)
            if (op[k] >> 6 == 0) return 0;
        if (!(code <= T_MUL || code == T_SHL || code == T_SHR || code == T_SAR || (code >= T_SEXT8 && code <= T_ZEXT16))) return 0;
        if ((code == T_SHL || code == T_SHR || code == T_SAR) && op[3] >> 6 == 1 && b->code[i].r[op[3] & 63]) return 0;
    }
    return __builtin_popcount(written) <= HAMMOCK_RESULTS && (i == b->count_n ? b->end == end : i > 0);
}

/* Whether a block's branch jumps over a few instructions that need not be jumped over; they may still run on into the target's. */
static int is_hammock(const struct block *b)
{
    const struct block *s = b->next;
    if (!is_branch(last_operation(b))) return 0;
    if (b->recent != &b->key) return 0; /* with an instruction cache: what is jumped over is not fetched */
    const uint8_t *op = template_ops[template_starts[b->meta[b->count_n - 1].handler + 1] - 1];
    if (!(op[2] >> 6) || !(op[3] >> 6)) return 0; /* its operands are in rax and rdx */
    if (!s || !b->target || s->dead || s->listed != 1 || s->hwloop || b->target->dead) return 0;
    uint32_t length = b->target->pc - b->end;
    if (s->pc != b->end || !length || length > 4 * HAMMOCK_INSTRUCTIONS || !skippable(s, b->target->pc)) return 0;
    return b->taken > b->count / 32 && b->taken < b->count - b->count / 32;
}

/* Where the path goes on behind member k: the block, NULL where it ends. */
static struct block *continuation(struct trace *t, int k)
{
    struct member *m = &t->member[k];
    struct block *b = m->block;
    int code = last_operation(b);
    m->path_taken = 0;
    if (code == -2 || code == T_JUMPR) return NULL;
    if (code == -1) return b->next;
    m->path_taken = code == T_JUMP || 2 * b->taken > b->count;
    return m->path_taken ? b->target : b->next;
}

static int may_follow(struct trace *t, const struct block *b, uint32_t instructions)
{
    if (!b || !compilable(b) || b->loop || t->members + 2 >= TRACE_BLOCKS || instructions + b->count_n > TRACE_INSTRUCTIONS) return 0;
    for (int k = 0; k < t->members; k++)
        if (t->member[k].block == b) return 0;
    return 1;
}

/* The path leads back to its beginning: a short one is laid out several times, with one charge for all. */
static void unroll(struct trace *t, uint32_t instructions)
{
    t->is_loop = 1;
    for (int n = t->members, times = 1; times < UNROLL && 2 * n <= TRACE_BLOCKS && 2 * instructions <= UNROLL_INSTRUCTIONS; times *= 2) {
        memcpy(&t->member[n], t->member, (size_t)n * sizeof *t->member);
        n = t->members *= 2;
        instructions *= 2;
    }
}

static void choose_path(struct trace *t, struct block *head)
{
    uint32_t instructions = 0;
    struct block *b = head, *next;
    if (head->loop) { /* its own trace is for what its function does not do */
        t->member[t->members++] = (struct member){.block = head, .path_taken = 1};
        t->is_loop = 1;
        return;
    }
    for (;;) {
        t->member[t->members++].block = b;
        instructions += b->count_n;
        if (is_hammock(b) && b->next->end == b->target->pc && may_follow(t, b->next, instructions)
            && (b->target == head || may_follow(t, b->target, instructions + b->next->count_n))) {
            struct member *m = &t->member[t->members++];
            m->block = b->next;
            m->conditional = 1;
            instructions += m->block->count_n;
            next = b->target;
        } else {
            struct member *m = &t->member[t->members - 1];
            next = continuation(t, t->members - 1);
            if (next && next->loop && !next->dead) {
                m->loop = next;
                next = next->next;
                if (next == head) next = NULL;
            }
            if (next && next != head && (next->compiled || !may_follow(t, next, instructions))) next = NULL;
            if (!next) m->loop = NULL;
        }
        if (!next) { t->member[t->members - 1].path_taken = 0; return; }
        if (next == head) { unroll(t, instructions); return; }
        b = next;
    }
}

/* ------------------------------------------------------------ code */
static void *take_data(struct jit *j, size_t size)
{
    void *at = j->data;
    j->data += (size + 15) & ~(size_t)15;
    memset(at, 0, size);
    return at;
}

static void aim(uint8_t *distance, const uint8_t *to)
{
    uint32_t d = (uint32_t)(to - (distance + 4));
    memcpy(distance, &d, 4);
}

static void leave_with(struct out *o, int code, struct block *b)
{
    load_constant(o, RAX, (uint64_t)(uintptr_t)b);
    rm(o, 0x89, RAX, RDI, H(native_block), 1);
    load_constant(o, RAX, (uint64_t)code);
    jump_to(o, o->j->leave);
}

/* Go on in the interpreter, at an instruction or the end marker of a trace's last member. */
static void leave_at(struct out *o, struct member *m, const struct insn *in)
{
    count_up(o, &m->ended);
    load_constant(o, RAX, (uint64_t)(uintptr_t)in);
    rm(o, 0x89, RAX, RDI, H(native_insn), 1);
    leave_with(o, NATIVE_RESUME, m->block);
}

/* One way out of a trace at the end of a member's block, or a jump to where the path goes on out of line. */
static void emit_way(struct out *o, struct member *m, int taken)
{
    count_up(o, taken ? &m->ended_taken : &m->ended);
    if (m->refund) data(o, 0x03, R15, &m->refund, 1);
    put8(o, 0xe9);
    put32(o, 0);
    m->jump[taken] = o->p - 4;
}

/* A branch on a and b that is taken when cc, over the instructions of member m, which only compute. */
static void emit_hammock(struct out *o, struct member *m, int cc, struct place a, struct place b)
{
    static const uint8_t temporary[HAMMOCK_RESULTS] = {RAX, RDX};
    struct place result[HAMMOCK_RESULTS];
    int results = 0, r;
    for (uint32_t i = 0; i < m->block->count_n; i++) {
        int n = template_starts[m->block->meta[i].handler];
        if (template_starts[m->block->meta[i].handler + 1] == n) continue;
        struct place p[4];
        for (int k = 0; k < 4; k++) {
            p[k] = place_of(o->j, &m->block->code[i], template_ops[n][k + 1]);
            for (r = 0; k && r < results; r++)
                if (same(p[k], result[r])) { p[k] = (struct place){IN_REGISTER, temporary[r]}; break; }
        }
        for (r = 0; r < results && !same(p[0], result[r]);) r++;
        if (r == results) result[results++] = p[0];
        compute(o, template_ops[n][0], (struct place){IN_REGISTER, temporary[r]}, p[1], p[2], p[3]);
    }
    compare(o, a, b, 0);
    for (r = 0; r < results; r++) /* neither cmov nor mov changes a flag */
        if (result[r].kind == IN_REGISTER) rr(o, 0x0f40 | (cc ^ 1), (int)result[r].v, temporary[r], 0);
        else { rp(o, 0x0f40 | cc, temporary[r], result[r], 0); move_to(o, result[r], temporary[r]); }
    rr(o, 0x0f90 | cc, 0, RCX, 0);
    rr(o, 0x0fb6, RCX, RCX, 0);
    data(o, 0x01, RCX, &m->skipped, 1);
    load_constant(o, RDX, m->block->charge); /* given back when they were skipped */
    rr(o, 0x0faf, RDX, RCX, 1);
    rr(o, 0x03, R15, RDX, 1);
}

struct side { uint8_t *from; struct member *m; int taken; }; /* a branch off the path */

/* The branch at the end of member k. */
static void emit_branch(struct out *o, struct trace *t, int k, int cc, uint8_t *again, struct side *sides, int *count)
{
    struct member *m = &t->member[k];
    int last = k + 1 == t->members;
    if (last && t->is_loop) { /* round again, or on to the only way out */
        aim(jump_if(o, m->path_taken ? cc : cc ^ 1), again);
        emit_way(o, m, !m->path_taken);
        return;
    }
    int off = last ? 1 : !m->path_taken; /* which side leaves the path */
    sides[(*count)++] = (struct side){jump_if(o, off ? cc : cc ^ 1), m, off};
    if (last) emit_way(o, m, 0);
}

static void emit_jumpr(struct out *o, struct member *m, struct place to)
{
    if (to.kind != IN_REGISTER || to.v != RAX) move(o, RAX, to);
    count_up(o, &m->ended_taken);
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
    leave_with(o, NATIVE_INDIRECT, m->block);
}

/* The instructions of member k. Its last one, or the path's return to its beginning, ends the code of a trace. */
static void emit_member(struct out *o, struct trace *t, int k, uint8_t *again, struct miss *misses, struct side *sides, int *count)
{
    struct member *m = &t->member[k];
    struct block *b = m->block;
    int last = k + 1 == t->members;
    for (uint32_t i = 0; i < b->count_n; i++) {
        struct insn *in = &b->code[i];
        int handler = b->meta[i].handler, kind = kind_of(b, i);
        if (!kind) {
            leave_at(o, m, in);
            return;
        }
        if (kind == 3 && emit_routine(o, (const struct routine *)in->host)) continue;
        if (kind >= 2) {
            load_constant(o, RAX, (uint64_t)(uintptr_t)in);
            load_constant(o, RCX, (uint64_t)(uintptr_t)(kind == 3 ? routine_call : template_functions[handler]));
            call_to(o, o->j->call);
            continue;
        }
        for (int n = template_starts[handler]; n < template_starts[handler + 1]; n++) {
            const uint8_t *op = template_ops[n];
            int code = op[0];
            struct place d = place_of(o->j, in, op[1]), a = place_of(o->j, in, op[2]), e = place_of(o->j, in, op[3]), f = place_of(o->j, in, op[4]);
            if (code == T_JUMP || is_branch(code)) m->target = code == T_JUMP ? a.v : f.v;
            if (code == T_JUMP) {
                if (last && !t->is_loop) emit_way(o, m, 1);
                else if (last) jump_to(o, again);
                return;
            }
            if (code == T_JUMPR) { emit_jumpr(o, m, a); return; }
            if (is_branch(code) && !last && m[1].conditional) {
                emit_hammock(o, &m[1], branch_codes[code - T_BEQ], a, e);
                return;
            }
            if (is_branch(code)) {
                compare(o, a, e, code == T_BEQ || code == T_BNE);
                emit_branch(o, t, k, branch_codes[code - T_BEQ], again, sides, count);
                return;
            }
            if (code >= T_LOAD8U && code <= T_STORE32) {
                struct site *site = &t->site[t->sites];
                *site = (struct site){.interval = -1, .since = b->count, .index = i, .member = m, .in = in, .size = (uint8_t)(1 << log2_size(code)), .is_store = code >= T_STORE8,
                    .when = m->refund + LINE_ORDER(b, in)};
                access_memory(o, code, site, code >= T_STORE8 ? f : d, a, e.v, &misses[t->sites++]);
            } else
                compute(o, code, d, a, e, f);
        }
    }
    if (b->hwloop == HWLOOP_MARKED) { leave_at(o, m, &b->code[b->count_n]); return; }
    if (last && t->is_loop) jump_to(o, again);
    else if (last) emit_way(o, m, 0);
}

/* Have a counted loop's function do it. The zero flag says that the loop has ended; else it goes on at its beginning. */
static void emit_loop(struct out *o, struct block *b)
{
    static const uint32_t lost = 1 << RSI | 1 << R8 | 1 << R9 | 1 << R10 | 1 << R11;
    uint32_t used = 0, written = 0;
    for (uint32_t i = 0; i < b->count_n; i++) {
        int handler = b->meta[i].handler;
        for (int n = template_starts[handler]; n < template_starts[handler + 1]; n++)
            for (int k = 1; k < 5; k++)
                if (template_ops[n][k] >> 6 == 1) {
                    uint32_t bit = 1u << (b->code[i].r[template_ops[n][k] & 63] & 31);
                    used |= bit;
                    if (k == 1) written |= bit;
                }
    }
    for (int n = 0; n < o->j->pins; n++)
        if (used >> o->j->guest[n] & 1 || lost >> pinnable[n] & 1) rm(o, 0x89, pinnable[n], RDI, H(x) + 4 * o->j->guest[n], 0);
    rm(o, 0x89, R15, RDI, H(fuel), 1);
    load_constant(o, RSI, (uint64_t)(uintptr_t)b);
    load_constant(o, RAX, (uint64_t)(uintptr_t)b->loop);
    put8(o, 0xff); put8(o, 0xd0); /* call rax */
    load_constant(o, RDI, (uint64_t)(uintptr_t)o->j->hart);
    rm(o, 0x8b, R15, RDI, H(fuel), 1);
    for (int n = 0; n < o->j->pins; n++)
        if (written >> o->j->guest[n] & 1 || lost >> pinnable[n] & 1) rm(o, 0x8b, pinnable[n], RDI, H(x) + 4 * o->j->guest[n], 0);
    arithmetic(o, 7, RAX, (struct place){LITERAL, 1});
}

/* Where a way out leads while its successor is not compiled. */
static void emit_leaving(struct out *o, struct member *m, int taken)
{
    struct block *b = m->block;
    m->way[taken] = o->p;
    if (taken) {
        load_constant(o, RAX, m->target);
        rm(o, 0x89, RAX, RDI, H(pc), 0);
    }
    leave_with(o, taken ? NATIVE_TAKEN : NATIVE_NEXT, b);
    aim(m->jump[taken], m->way[taken]);
}

static void emit_fetch(struct out *o, struct member *m)
{
    put8(o, 0x50); /* push rax, to align the stack */
    data(o, 0x8d, RAX, m, 1);
    call_to(o, o->j->fetch);
    put8(o, 0x58);
}

/* With an instruction cache: leave for its slow path unless the fetch of member k changes nothing. NULL where there is no such way. */
static uint8_t *check_fetch(struct out *o, struct trace *t, int k)
{
    struct member *m = &t->member[k];
    const struct block *b = m->block, *before = k ? m[-1].block : NULL;
    if (b->recent == &b->key) return NULL;
    if (b->recent == &no_key) { emit_fetch(o, m); return NULL; }
    if (before && before->recent == b->recent && before->key == b->key) return NULL; /* the line of the fetch just before */
    int32_t offset = (int32_t)((const uint8_t *)b->recent - (const uint8_t *)o->j->hart);
    rm(o, 0x81, 7, RDI, offset, 0);
    put32(o, b->key);
    return jump_if(o, CC_NE);
}

#include "jit_fork.h"

/* Compile the path that begins with a block; 0 when there is no room. */
static int compile_trace(struct jit *j, struct block *head)
{
    struct out hot = {.p = j->at, .j = j}, cold = {.p = j->cold, .j = j};
    struct miss misses[TRACE_INSTRUCTIONS + 64];
    struct side sides[2 * TRACE_BLOCKS];
    int branched = 0;
    uint8_t *again = NULL, *done = NULL, *enter = NULL, *fetches[TRACE_BLOCKS] = {NULL}, *fetched[TRACE_BLOCKS];
    if (j->limit - j->at < HOT_ROOM || j->cold_limit - j->cold < COLD_ROOM || j->data_limit - j->data < DATA_ROOM) { j->full = 1; return 0; }
    if (!open_part(j, &j->hot_pages, j->at, HOT_ROOM, j->limit) || !open_part(j, &j->cold_pages, j->cold, COLD_ROOM, j->cold_limit)) return 0;
    if (j->count == j->room) {
        struct trace **grown = realloc(j->list, (size_t)(j->room + 256) * sizeof *grown);
        if (!grown) return 0;
        j->list = grown;
        j->room += 256;
    }
    struct trace *t = take_data(j, sizeof *t);
    t->block = head;
    t->member = take_data(j, TRACE_BLOCKS * sizeof *t->member);
    struct fork fork;
    int forks = find_fork(j, t, &fork, head);
    if (!forks) {
        memset(t->member, 0, TRACE_BLOCKS * sizeof *t->member);
        t->members = 0;
        choose_path(t, head);
    }
    j->data = (uint8_t *)(((uintptr_t)&t->member[t->members] + 15) & ~(uintptr_t)15);
    if (forks) *(t->fork = take_data(j, sizeof fork)) = fork;
    uint32_t accesses = 0;
    for (int k = t->members - 1; k >= 0; k--) {
        struct member *m = &t->member[k];
        m->trace = t;
        m->refund = t->charge;
        t->charge += m->block->charge;
        m->block->traces++;
        m->block->seen = m->block->count - m->block->traced;
        accesses += m->block->count_n;
    }
    if (forks) {
        t->charge = head->charge;
        for (int k = 0; k < t->members; k++) t->member[k].refund = 0;
    }
    t->site = take_data(j, (forks ? 0 : accesses) * sizeof *t->site);
    t->chain = hot.p;
    if (head->loop) {
        emit_loop(&hot, head);
        done = jump_if(&hot, CC_E);
        enter = jump_if(&hot, CC_NE);
    }
    if (t->is_loop) { again = hot.p; count_up(&hot, &t->loops); }
    if (enter) land(&hot, enter);
    else t->chain = hot.p;
    data(&hot, 0x2b, R15, &t->charge, 1);
    data(&hot, 0x85, R15, j->exhausted, 1);
    uint8_t *out_of_fuel = jump_if(&hot, CC_NE);
    if (forks) emit_fork(&hot, t);
    for (int k = 0; k < t->members && !forks; k++)
        if (t->member[k].conditional) {
            if (k + 1 == t->members) jump_to(&hot, again);
        } else {
            struct member *m = &t->member[k];
            fetches[k] = check_fetch(&hot, t, k);
            fetched[k] = hot.p;
            emit_member(&hot, t, k, again, misses, sides, &branched);
            if (!m->loop) continue;
            emit_loop(&hot, m->loop);
            sides[branched++] = (struct side){jump_if(&hot, CC_NE), m, m->path_taken};
        }
    if (done) aim(done, t->member[0].jump[0] - 1); /* as its last iteration leaves, but that is counted */
    for (int n = 0; n < branched; n++) {
        land(&hot, sides[n].from);
        emit_way(&hot, sides[n].m, sides[n].taken);
    }
    t->code = t->chain;
    t->end = hot.p;
    t->cold = cold.p;
    land(&cold, out_of_fuel);
    data(&cold, 0x03, R15, &t->charge, 1);
    leave_with(&cold, NATIVE_FUEL, head);
    for (int k = 0; k < t->members; k++)
        for (int taken = 0; taken < 2; taken++)
            if (t->member[k].jump[taken]) emit_leaving(&cold, &t->member[k], taken);
    for (int n = 0; n < t->sites; n++) {
        emit_miss(&cold, &misses[n]);
        emit_cached(&cold, &misses[n]);
    }
    for (int k = 0; k < t->members; k++)
        if (fetches[k]) {
            land(&cold, fetches[k]);
            emit_fetch(&cold, &t->member[k]);
            jump_to(&cold, fetched[k]);
        }
    t->cold_end = cold.p;
    for (int k = 0; k < t->members; k++)
        for (uint32_t i = 0; i < t->member[k].block->count_n; i++) t->member[k].block->meta[i].frozen = 1;
    j->data = (uint8_t *)(((uintptr_t)&t->site[t->sites] + 15) & ~(uintptr_t)15);
    j->at = (uint8_t *)(((uintptr_t)hot.p + 15) & ~(uintptr_t)15);
    j->cold = cold.p;
    j->list[j->count++] = t;
    head->compiled = t;
    head->wanted = 0;
    head->chain = t->chain;
    head->start = (head->sites ? cached_handler_address : handler_address)[HANDLER_NATIVE];
    return 1;
}
#endif
