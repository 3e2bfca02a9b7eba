/* The body of the interpreter, included once for each way to run (hart.h): blocks without caches, blocks with them. */
/* Run from block b until something needs the machine. With h == NULL: fill HANDLER_ADDRESS and FUSED_ADDRESS. */
int HART_RUN(struct hart *h, struct block *b)
{
    static const void *const labels[] = {HANDLER_LABELS, &&end, &&illegal, &&fetch_fault, &&custom, &&custom_end, &&routine, &&routine_jump, &&breakpoint, &&native, &&loop, &&hwloop};
    static const struct fusion fused = {{CHAIN_LABELS}, {OVER_LABELS}, {PREDICATED_LABELS}};
    if (!h) {
        memcpy(HANDLER_ADDRESS, labels, sizeof labels);
        FUSED_ADDRESS = fused;
        return 0;
    }
    uint32_t *const x = h->x;
    uint64_t fuel = h->fuel;
    struct insn *in;
    uint32_t keep;
    int r_native;
    (void)r_native;
    ENTER(b);

#define HANDLERS
#include "interpreter.h"
#undef HANDLERS

end: FALL_THROUGH;
native:
#if RVSIM_JIT_HOST
    b->count--; /* traces count and charge themselves */
    h->fuel = fuel + b->charge;
    h->jit->stale = 1;
    r_native = h->jit->enter(h, b->compiled->chain);
    fuel = h->fuel;
    b = h->native_block;
    switch (r_native) {
    case NATIVE_NEXT: FALL_THROUGH;
    case NATIVE_TAKEN:
        if (b->target) ENTER(b->target);
        h->edge = EDGE_TAKEN;
        goto lookup;
    case NATIVE_INDIRECT: h->edge = EDGE_INDIRECT; goto lookup;
    case NATIVE_ENTER: ENTER(b);
    case NATIVE_RESUME: in = h->native_insn; DISPATCH;
    case NATIVE_TRAP: in = h->native_insn; goto trap;
    case NATIVE_MODIFIED: in = h->native_insn; goto modified;
    }
    /* NATIVE_FUEL: the whole trace does not fit, but the block may. */
    if (UNLIKELY((fuel -= b->charge) & EXHAUSTED)) goto out_of_fuel;
    b->count++;
    CACHED_FETCH;
    in = b->code;
    DISPATCH;
#endif
loop:
    if (!b->loop_skip) {
        b->count--; /* it charges and counts itself */
        h->fuel = fuel + b->charge;
        switch (b->loop(h, b)) {
        case 1:
            fuel = h->fuel;
            b->loop_skips = 0;
            FALL_THROUGH;
        case 2: /* its next iteration is another entry */
            fuel = h->fuel;
            b->loop_skip = 1;
            ENTER(b);
        }
        b->count++;
        b->loop_skips = 2 * b->loop_skips + 1;
        if (b->loop_skips > MOST_SKIPPED) b->loop_skips = MOST_SKIPPED;
        b->loop_skip = b->loop_skips + 1;
    }
    b->loop_skip--;
    DISPATCH;
illegal: RAISE(0, 2);
fetch_fault:
    h->tval = in->k[0];
    RAISE(0, 1);
custom:
    h->fuel = fuel;
    if (h->custom(h, b, in)) goto trap;
    NEXT;
custom_end:
    h->fuel = fuel;
    if (h->custom(h, b, in)) goto trap;
    if (!in->k[1]) goto system; /* else all that it does to the machine is to jump */
    {
        uint32_t npc = h->pc, taken = npc != b->end;
        if (in->k[1] == CUSTOM_BRANCHES) BRANCH_TO;
        JUMP;
    }
routine:
    h->fuel = fuel;
    switch (routine_run(h, b, in)) {
    case ROUTINE_TRAP: goto trap;
    case ROUTINE_MODIFIED: goto modified;
    }
    NEXT;
routine_jump:
    h->fuel = fuel;
    switch (routine_run(h, b, in)) {
    case ROUTINE_TRAP: goto trap;
    case ROUTINE_JUMP: {
        uint32_t npc = h->target, taken = npc != b->end;
        if (in->k[1] == CUSTOM_BRANCHES) BRANCH_TO;
        JUMP;
    }
    }
    FALL_THROUGH;
hwloop: {
    uint32_t npc = hwloop_next(h, b->pc + b->meta[b->count_n - 1].offset, b->end);
    if (b->hwloop == HWLOOP_MARKED) {
        if (npc == b->end) FALL_THROUGH;
        b->taken++;
        if (b->target && b->target->pc == npc) ENTER(b->target);
        LOOKUP(npc, EDGE_TAKEN);
    }
    h->pc = npc;
    h->edge = EDGE_NONE;
}
lookup:
    if (UNLIKELY(b->hwloop == HWLOOP_INLINE) && h->edge == EDGE_NEXT) goto hwloop;
    h->fuel = fuel;
    h->from = b;
    return EXIT_LOOKUP;
out_of_fuel: /* the block has not been entered */
    h->fuel = fuel + b->charge;
    h->pc = b->pc;
    h->from = b;
    return EXIT_FUEL;
breakpoint: /* of a debugger, before the instruction */
    b->count--;
    h->fuel = fuel + b->charge;
    h->pc = b->pc;
    h->from = b;
    return EXIT_BREAK;
trap:
    h->fuel = fuel;
    h->from = b;
    h->index = (uint32_t)(in - b->code);
    return EXIT_TRAP;
system: /* h->pc says where to go on */
    h->fuel = fuel;
    h->from = b;
    return EXIT_SYSTEM;
modified: /* a store hit code: leave behind it, the block may be stale */
    h->fuel = fuel;
    h->from = b;
    h->index = (uint32_t)(in - b->code) + 1;
    return EXIT_MODIFIED;
}
