/* The interpreter with what caches and exact cycles need, compiled beside the one without (hart.h). */
#pragma GCC diagnostic ignored "-Wunused-function"
#define HART_CACHED
#include "hart.h"

const void *cached_handler_address[HANDLERS_ALL];
struct fusion cached_fused_address;
