/* Counted loops: a block that branches to itself, described for rvsim/loops/code.py, and the compiled function that does all its
 * iterations at once. The function sees struct hart and struct block through the offsets given here, changes nothing unless it can do
 * iterations whole, and leaves every counter as those iterations would have.
 */
#ifndef RVSIM_LOOPS_H
#define RVSIM_LOOPS_H
#include <stdarg.h>
#include <stdio.h>

#if RVSIM_JIT_HOST
#include <dlfcn.h>
static const char *const template_names[] = {TEMPLATE_NAMES};

enum { LOOP_TEXT = 1 << 15 };
struct text { char *at; int room; };

static void say(struct text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(t->at, (size_t)t->room, format, arguments);
    va_end(arguments);
    if (n < 0 || n >= t->room) n = t->room = 0;
    t->at += n;
    t->room -= n;
}

static void say_operand(struct text *t, const struct insn *in, int operand)
{
    int n = operand & 63;
    switch (operand >> 6) {
    case 0: say(t, " t%d", n); break;
    case 1: say(t, in->r[n] ? " x%d" : " 0", in->r[n]); break;
    case 2: say(t, " %u", (unsigned)in->k[n]); break;
    default: say(t, " %u", (unsigned)template_literals[n]);
    }
}
#endif

/* Write a block's description, 0 if it is none that can be described; `text` has LOOP_TEXT bytes. */
static int loop_text(struct block *b, int count, char *text)
{
#if RVSIM_JIT_HOST
    struct text out = {text, LOOP_TEXT}, *t = &out;
    for (uint32_t i = 0; i < b->count_n; i++)
        if (kind_of(b, i) != 1) return 0;
    say(t, "layout x=%d fuel=%d count=%d taken=%d looped=%d code=%d insn=%d window=%d units=%d host=%d\n", (int)offsetof(struct hart, x),
        (int)offsetof(struct hart, fuel), (int)offsetof(struct block, count), (int)offsetof(struct block, taken),
        (int)offsetof(struct block, looped), (int)offsetof(struct block, code), (int)sizeof(struct insn),
        (int)offsetof(struct insn, k) + 4, (int)offsetof(struct insn, units), (int)offsetof(struct insn, host));
    say(t, "charge %u %u\ncount %d\n", (unsigned)(b->charge >> 32), (unsigned)b->charge, count);
    for (uint32_t i = 0; i < b->count_n; i++) {
        int handler = b->meta[i].handler;
        for (int n = template_starts[handler]; n < template_starts[handler + 1]; n++) {
            say(t, "%u %s", (unsigned)i, template_names[template_ops[n][0]]);
            for (int k = 1; k < 5; k++) say_operand(t, &b->code[i], template_ops[n][k]);
            say(t, "\n");
        }
    }
    return t->room > 0;
#else
    (void)b, (void)count, (void)text;
    return 0;
#endif
}

/* The function in a library; NULL if the host will not load it. */
static loop_function loop_open(const char *path)
{
#if RVSIM_JIT_HOST
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return library ? (loop_function)(uintptr_t)dlsym(library, "rvsim_loop") : NULL;
#else
    (void)path;
    return NULL;
#endif
}
#endif
