/* A core's pipeline at work: the model, its numbers and memory, where it stands. The hart shows it what retires (machine/timed.h). */
#ifndef RVSIM_PIPELINE_H
#define RVSIM_PIPELINE_H
#include "operation.h"

typedef struct timing_pipeline {
    uint64_t cycles;              /* up to the last retirement */
    timing_memory *memory;        /* whose `at` and `code` are the hart's */
    uint32_t (*step)(struct timing_pipeline *, const timing_op *, const retired *, timing_report *);
} timing_pipeline;
#endif
