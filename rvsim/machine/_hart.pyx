# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The hart: basic blocks predecoded and run, memory, and exact counts of everything that happens.

Counting costs nothing per instruction. A block counts how often it is entered and how often its branch is taken; what leaves a block
in its middle (a trap, a store into code) counts one exit at that instruction. Executions of instruction i of a block are therefore
``count - sum(exits[:i + 1])``, and every total is a sum over blocks.

A load or store keeps a window: the address interval (a data symbol, or what lies between two) that it hit last. Inside it an access
is one comparison, and the interval's counters are brought up to date only when the window moves on or somebody asks.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset


cdef extern from "hart.h":
    struct decoded:
        uint16_t handler, instruction
        uint8_t size
        uint8_t r[4]
        uint32_t k[2]
    struct insn:
        const void *handler
        uint8_t r[4]
        uint32_t k[2]
        uint32_t units
        uint8_t *host
    struct meta:
        uint32_t word
        uint16_t instruction, offset, cost
        int32_t interval
        uint64_t base
    struct block:
        uint32_t pc, end, count_n, cycles
        uint64_t count, taken, entered, misaligned, straddled, straddled_from
        block *next
        block *target
        insn *code
        meta *meta
        uint64_t *exits
        block *hash_next
        uint8_t straddles, target_straddles, dead, listed
    struct hart:
        uint32_t x[32]
        uint32_t pc
        int64_t fuel
        block *from_ "from"
        uint32_t edge, index, irq, cause, tval
        block *jump[4096]
        int (*load)(hart *, block *, insn *, uint32_t, int, uint32_t *) noexcept nogil
        int (*store)(hart *, block *, insn *, uint32_t, int, uint32_t) noexcept nogil
        int (*csr)(hart *, block *, insn *, uint32_t, int, uint32_t *) noexcept nogil
        int (*custom)(hart *, block *, insn *) noexcept nogil
        uint32_t (*leave)(hart *) noexcept nogil
        void *self
    int EXIT_LOOKUP, EXIT_FUEL, EXIT_TRAP, EXIT_SYSTEM, EXIT_WAIT, EXIT_MODIFIED
    int EDGE_NONE, EDGE_NEXT, EDGE_TAKEN, EDGE_INDIRECT
    int JUMP_CACHE, NO_INSTRUCTION, DIVIDE_BUCKETS
    int HANDLER_END, HANDLER_ILLEGAL, HANDLER_FETCH_FAULT, HANDLER_CUSTOM, HANDLER_CUSTOM_END
    int INSTRUCTION_COUNT
    const void **handler_address
    const void **pair_address
    int pair_of(int, int) nogil
    uint8_t *handler_ends
    int decode(uint32_t, uint32_t, int, decoded *) nogil
    int hart_run(hart *, block *) nogil


hart_run(NULL, NULL)

cdef enum:
    BLOCK_LIMIT = 64            # instructions in a block
    HASH_SIZE = 1 << 14
    GRANULE = 64                # bytes of memory that share a "holds code" flag
    WINDOW_GRANULES = 64        # how far a store window reaches beside code
    PERIOD = 1 << 24            # instructions between two looks for signals
    CACHE_LIMIT = 1 << 20       # predecoded instructions kept, about 60 MB
    READ = 4
    WRITE = 2
    EXECUTE = 1

# How a division's histogram bucket is read back (hart.h, record_divide).
DIVIDE_ZERO_BUCKET = 0

cdef struct Region:
    uint32_t base
    uint32_t last               # address of the last byte
    uint8_t *data
    uint8_t *code               # a flag for each granule
    int permissions
    uint64_t fetch_count, fetch_bytes

cdef struct Interval:
    uint32_t low, last
    int region
    int code                    # holds code: stores need care
    int stored                  # some store's window is, or was, on it
    uint64_t load_count, load_bytes, store_count, store_bytes

# What the timing of an instruction depends on, by number of instruction in the ISA.
cdef struct Kind:
    uint16_t cost
    uint8_t access              # bytes of a load or store, 0 for none
    uint8_t is_store
    uint8_t divide
    uint8_t is_csr
    uint8_t is_branch
    uint8_t enabled             # part of the chosen instruction set


class GuestTrap(Exception):
    """A trap raised by a custom instruction's behaviour or the machine's own service."""

    def __init__(self, int irq, cause, tval=0):
        super().__init__(irq, cause, tval)
        self.irq, self.cause, self.tval = irq, cause, tval


cdef inline uint64_t executed(block *b, uint32_t i) noexcept nogil:
    """Times instruction i of a block retired."""
    cdef uint64_t n = b.count
    cdef uint32_t j
    if b.exits != NULL:
        for j in range(i + 1):
            n -= b.exits[j]
    return n


cdef class Hart:
    """One RV32IMC hart and its memory.

    Parameters
    ----------
    machine : object
        Serves what is not hot: ``csr_read(number)``, ``csr_write(number, value)``, ``custom(index, word, pc)``, ``trap_return()``.
    kinds : list of tuple
        For each instruction of the ISA (cost in cycles, bytes accessed, is a store, divides, is a CSR access, is a branch).
    """

    cdef hart h
    cdef object machine
    cdef Region *regions
    cdef int region_count
    cdef Interval *intervals
    cdef int interval_count
    cdef Kind *kinds
    cdef int kind_count
    cdef block *table[HASH_SIZE]
    cdef block **blocks          # every live block
    cdef int block_count, block_room
    cdef block **dead            # unlinked, to be folded and freed at the next safe point
    cdef int dead_count, dead_room
    cdef block nowhere           # target of empty jump cache lines: its pc is odd
    cdef int64_t cached          # predecoded instructions alive
    cdef int64_t granted         # instructions allowed so far, of which h.fuel are left
    cdef int taken_cost, straddle_cost, misaligned_cost, trap_cost
    cdef list divide_costs
    cdef dict csr_costs
    cdef list custom             # (mask, match, size, ends) of instructions added at run time
    cdef public object pending   # exception raised by a service called from the loop
    cdef public long long stall_cycles
    cdef public long long traps
    cdef long long unretired     # 1 while a CSR access or custom instruction looks at the counters
    cdef block *trapped
    cdef dict folded             # pc -> [count, cycles, instruction, size] of blocks that are gone
    cdef long long folded_cycles, folded_taken, folded_misaligned
    cdef bint split_misaligned

    def __cinit__(self, machine, kinds, timing):
        cdef int i
        memset(&self.h, 0, sizeof(hart))
        self.machine = machine
        self.kind_count = len(kinds)
        self.kinds = <Kind *>PyMem_Calloc(max(1, self.kind_count), sizeof(Kind))
        if self.kinds == NULL:
            raise MemoryError
        for i, (cost, access, is_store, divide, is_csr, is_branch, enabled) in enumerate(kinds):
            self.kinds[i] = Kind(cost, access, is_store, divide, is_csr, is_branch, enabled)
        self.taken_cost, self.straddle_cost = timing["taken"], timing["straddle"]
        self.misaligned_cost, self.trap_cost = timing["misaligned"], timing["trap"]
        self.divide_costs = timing["divide"]
        self.csr_costs = timing["csr"]
        self.split_misaligned = timing["split_misaligned"]
        self.custom = []
        self.folded = {}
        self.nowhere.pc = 1
        for i in range(JUMP_CACHE):
            self.h.jump[i] = &self.nowhere
        self.h.load = slow_load
        self.h.store = slow_store
        self.h.csr = slow_csr
        self.h.custom = slow_custom
        self.h.leave = slow_leave
        self.h.self = <void *>self

    def __dealloc__(self):
        cdef int i
        for i in range(self.block_count):
            free_block(self.blocks[i], self)
        for i in range(self.dead_count):
            free_block(self.dead[i], self)
        PyMem_Free(self.blocks)
        PyMem_Free(self.dead)
        for i in range(self.region_count):
            PyMem_Free(self.regions[i].data)
            PyMem_Free(self.regions[i].code)
        PyMem_Free(self.regions)
        PyMem_Free(self.intervals)
        PyMem_Free(self.kinds)

    # ------------------------------------------------------------ memory
    def map(self, regions, intervals):
        """Lay out memory once, before the first instruction.

        Parameters
        ----------
        regions : list of (base, size, permissions)
            Sorted, without overlap; permissions: 4 read, 2 write, 1 execute.
        intervals : list of (low, last, region)
            Sorted; together they cover every region, none reaches beyond its own.
        """
        cdef int i
        if self.regions != NULL:
            raise ValueError("memory is mapped once")
        self.regions = <Region *>PyMem_Calloc(max(1, len(regions)), sizeof(Region))
        self.intervals = <Interval *>PyMem_Calloc(max(1, len(intervals)), sizeof(Interval))
        if self.regions == NULL or self.intervals == NULL:
            raise MemoryError
        for i, (base, size, permissions) in enumerate(regions):
            self.regions[i].base, self.regions[i].last = base, base + size - 1
            self.regions[i].permissions = permissions
            # Eight bytes more: a window's last unit may be read with a wider host access in later versions of the loop.
            self.regions[i].data = <uint8_t *>PyMem_Calloc(size + 8, 1)
            self.regions[i].code = <uint8_t *>PyMem_Calloc(size // GRANULE + 2, 1)
            self.region_count = i + 1
            if self.regions[i].data == NULL or self.regions[i].code == NULL:
                raise MemoryError(f"no host memory for a region of {size} bytes")
        for i, (low, last, region) in enumerate(intervals):
            self.intervals[i].low, self.intervals[i].last, self.intervals[i].region = low, last, region
        self.interval_count = len(intervals)

    cdef Region *region(self, uint32_t address) noexcept nogil:
        cdef int i
        for i in range(self.region_count):
            if self.regions[i].base <= address <= self.regions[i].last:
                return &self.regions[i]
        return NULL

    cdef int interval(self, uint32_t address) noexcept nogil:
        """Number of the interval that holds an address; -1 outside memory."""
        cdef int low = 0, high = self.interval_count - 1, middle
        while low <= high:
            middle = (low + high) >> 1
            if address < self.intervals[middle].low:
                high = middle - 1
            elif address > self.intervals[middle].last:
                low = middle + 1
            else:
                return middle
        return -1

    def view(self, uint32_t address, Py_ssize_t size, bint write):
        """Host view of guest memory, or None where it is not within one region that permits it."""
        cdef Region *r = self.region(address)
        if r == NULL or size < 1 or size - 1 > r.last - address or not r.permissions & (WRITE if write else READ):
            return None
        if write:
            self.code_written(r, address, size)
        return <uint8_t[:size]>(r.data + (address - r.base))

    def poke(self, uint32_t address, const uint8_t[::1] data):
        """Write guest memory whatever its permissions (loader, host calls); False where it leaves a region."""
        cdef Region *r = self.region(address)
        cdef Py_ssize_t size = data.shape[0]
        if size == 0:
            return True
        if r == NULL or size - 1 > r.last - address:
            return False
        self.code_written(r, address, size)
        memcpy(r.data + (address - r.base), &data[0], size)
        return True

    def peek(self, uint32_t address, Py_ssize_t size):
        """Bytes of guest memory whatever its permissions, or None where they leave a region."""
        cdef Region *r = self.region(address)
        if size == 0:
            return b""
        if r == NULL or size < 0 or size - 1 > r.last - address:
            return None
        return (<char *>(r.data + (address - r.base)))[:size]

    def count_access(self, uint32_t address, bint store, accesses, size):
        """Add traffic of another bus master to the interval at `address`."""
        cdef int n = self.interval(address)
        if n < 0:
            return
        if store:
            self.intervals[n].store_count += accesses
            self.intervals[n].store_bytes += size
        else:
            self.intervals[n].load_count += accesses
            self.intervals[n].load_bytes += size

    def load(self, uint32_t address, int size):
        """A counted load outside the inner loop (custom instructions).

        Raises
        ------
        GuestTrap
            Outside readable memory, or misaligned where the core traps that.
        """
        cdef uint32_t value = 0
        cdef int n = self.checked(address, size, False)
        self.intervals[n].load_count += 1
        self.intervals[n].load_bytes += size
        memcpy(&value, self.regions[self.intervals[n].region].data + (address - self.regions[self.intervals[n].region].base), size)
        return value

    def store(self, uint32_t address, uint32_t value, int size):
        """A counted store outside the inner loop; see `load`."""
        cdef int n = self.checked(address, size, True)
        cdef Region *r = &self.regions[self.intervals[n].region]
        self.intervals[n].store_count += 1
        self.intervals[n].store_bytes += size
        memcpy(r.data + (address - r.base), &value, size)
        self.code_written(r, address, size)

    cdef int checked(self, uint32_t address, int size, bint store) except -1:
        cdef int n = self.interval(address)
        cdef Region *r
        if address & (size - 1) and not self.split_misaligned:
            raise GuestTrap(0, 6 if store else 4, address)
        if n < 0:
            raise GuestTrap(0, 7 if store else 5, address)
        r = &self.regions[self.intervals[n].region]
        if not r.permissions & (WRITE if store else READ) or size - 1 > r.last - address:
            raise GuestTrap(0, 7 if store else 5, address)
        return n

    # ------------------------------------------------------------ registers
    @property
    def pc(self):
        return self.h.pc

    @pc.setter
    def pc(self, uint32_t value):
        self.h.pc = value

    def register(self, int number):
        """Value of x`number`."""
        return self.h.x[number & 31]

    def set_register(self, int number, uint32_t value):
        if number & 31:
            self.h.x[number & 31] = value

    # ------------------------------------------------------------ blocks
    def add_custom(self, mask, match, size, ends, cost):
        """Let instructions of this encoding be served by ``machine.custom``; they are tried before the built-in ones."""
        self.custom.append((mask, match, size, ends, cost))

    cdef block *find(self, uint32_t pc) noexcept nogil:
        cdef block *b = self.table[(pc >> 1) & (HASH_SIZE - 1)]
        while b != NULL and b.pc != pc:
            b = b.hash_next
        return b

    cdef block *build(self, uint32_t pc, uint32_t limit) except NULL:
        """Predecode the basic block at `pc`, at most `limit` instructions of it."""
        cdef insn code[BLOCK_LIMIT + 1]
        cdef meta details[BLOCK_LIMIT]
        cdef int which[BLOCK_LIMIT]
        cdef decoded d
        cdef uint32_t n = 0, word, at = pc, room
        cdef Region *r
        cdef block *b
        cdef bint ends = False
        cdef int custom
        memset(code, 0, sizeof(code))
        memset(details, 0, sizeof(details))
        while n < limit and not ends:
            which[n] = -1
            r = self.region(at)
            room = r.last - at + 1 if r != NULL and r.permissions & EXECUTE else 0
            if room == 1 or (room == 0 and n):
                if n:
                    break
                room = 0
            if room:
                word = 0
                memcpy(&word, r.data + (at - r.base), 2)
                if word & 3 == 3:
                    if room < 4:
                        if n:
                            break
                        room = 0
                    else:
                        memcpy(&word, r.data + (at - r.base), 4)
            details[n].offset = at - pc
            details[n].interval = -1
            details[n].instruction = NO_INSTRUCTION
            if room == 0:
                code[n].handler = handler_address[HANDLER_FETCH_FAULT]
                # mtval: the part of the instruction that could not be fetched.
                code[n].k[0] = at if r == NULL or not r.permissions & EXECUTE else r.last + 1
                n += 1
                at += 2
                break
            details[n].word = word
            custom = self.find_custom(word) if self.custom else -1
            if custom >= 0:
                mask, match, size, custom_ends, cost = self.custom[custom]
                code[n].handler = handler_address[HANDLER_CUSTOM_END if custom_ends else HANDLER_CUSTOM]
                code[n].k[0] = custom
                details[n].instruction = self.kind_count + custom
                details[n].cost = cost
                ends = custom_ends
                at += size
            elif decode(word, at, 0, &d) and self.kinds[d.instruction].enabled:
                which[n] = d.handler
                code[n].handler = handler_address[d.handler]
                memcpy(code[n].r, d.r, 4)
                memcpy(code[n].k, d.k, 8)
                details[n].instruction = d.instruction
                details[n].cost = self.kinds[d.instruction].cost
                if self.kinds[d.instruction].is_csr:
                    details[n].cost = self.csr_cost(word, details[n].cost)
                if self.kinds[d.instruction].divide:
                    code[n].host = <uint8_t *>PyMem_Calloc(DIVIDE_BUCKETS, sizeof(uint64_t))
                    if code[n].host == NULL:
                        raise MemoryError
                ends = handler_ends[d.handler]
                at += d.size
            else:
                code[n].handler = handler_address[HANDLER_ILLEGAL]
                ends = True
                at += 4 if word & 3 == 3 else 2
            n += 1
        code[n].handler = handler_address[HANDLER_END]
        fuse(code, which, n)
        b = <block *>PyMem_Calloc(1, sizeof(block))
        if b == NULL:
            raise MemoryError
        b.code = <insn *>PyMem_Malloc((n + 1) * sizeof(insn))
        b.meta = <meta *>PyMem_Malloc(n * sizeof(meta))
        if b.code == NULL or b.meta == NULL:
            PyMem_Free(b.code)
            PyMem_Free(b.meta)
            PyMem_Free(b)
            raise MemoryError
        memcpy(b.code, code, (n + 1) * sizeof(insn))
        memcpy(b.meta, details, n * sizeof(meta))
        b.pc, b.end, b.count_n = pc, at, n
        for i in range(n):
            b.cycles += details[i].cost
        b.straddles = pc & 2 != 0 and details[0].word & 3 == 3
        self.mark_code(pc, at)
        self.cached += n
        return b

    cdef int find_custom(self, uint32_t word) except -2:
        cdef int n = 0
        for mask, match, size, ends, cost in self.custom:
            if word & <uint32_t>mask == <uint32_t>match and (size == 4) == (word & 3 == 3):
                return n
            n += 1
        return -1

    cdef uint16_t csr_cost(self, uint32_t word, uint16_t cost) except? 0:
        """Writes of some CSRs flush the pipeline (timing tables, csr)."""
        cdef bint writes = (word >> 12) & 3 == 1 or (word >> 15) & 31 != 0
        return self.csr_costs.get(word >> 20, cost) if writes else cost

    cdef int insert(self, block *b) except -1:
        cdef uint32_t slot = (b.pc >> 1) & (HASH_SIZE - 1)
        b.hash_next = self.table[slot]
        self.table[slot] = b
        self.keep(b)
        return 0

    cdef int keep(self, block *b) except -1:
        return append(&self.blocks, &self.block_count, &self.block_room, b)

    cdef void mark_code(self, uint32_t low, uint32_t end) noexcept:
        """Flag the granules of a new block; store windows on their intervals are taken back."""
        cdef Region *r = self.region(low)
        cdef uint32_t g, at
        cdef int n
        cdef bint fresh = False
        if r == NULL:
            return
        for g in range((low - r.base) // GRANULE, min(end - 1 - r.base, r.last - r.base) // GRANULE + 1):
            if not r.code[g]:
                r.code[g] = 1
                at = r.base + g * GRANULE
                n = self.interval(at)
                while 0 <= n < self.interval_count and self.intervals[n].low <= min(at + GRANULE - 1, r.last):
                    self.intervals[n].code = 1
                    fresh |= self.intervals[n].stored
                    n += 1
        if fresh:
            self.drop_store_windows()

    cdef void drop_store_windows(self) noexcept:
        cdef int i
        cdef uint32_t j
        cdef block *b
        for i in range(self.block_count):
            b = self.blocks[i]
            for j in range(b.count_n):
                if b.meta[j].interval >= 0 and self.kinds[b.meta[j].instruction].is_store:
                    self.settle(b, j)
                    b.code[j].units = 0
                    b.meta[j].interval = -1

    cdef bint code_written(self, Region *r, uint32_t address, Py_ssize_t size) noexcept nogil:
        """Unlink every block that overlaps freshly written bytes; whether there was one."""
        cdef uint32_t g
        cdef uint64_t end = <uint64_t>address + size
        cdef int i
        cdef bint hit = False
        cdef block *b
        for g in range((address - r.base) // GRANULE, <uint32_t>((address - r.base + size - 1) // GRANULE) + 1):
            if r.code[g]:
                hit = True
                break
        if not hit:
            return False
        hit = False
        for i in range(self.block_count):
            b = self.blocks[i]
            if b.pc < end and b.end > address:
                b.dead = 1
                hit = True
        if hit:
            with gil:
                self.bury()
        return hit

    cdef int bury(self) except -1:
        """Unlink dead blocks everywhere; they are folded into the totals and freed at the next safe point."""
        cdef int i, kept = 0
        cdef block *b
        for i in range(self.block_count):
            b = self.blocks[i]
            if b.next != NULL and b.next.dead:
                b.next = NULL
            if b.target != NULL and b.target.dead:
                b.target = NULL
        for i in range(JUMP_CACHE):
            if self.h.jump[i].dead:
                self.h.jump[i] = &self.nowhere
        memset(self.table, 0, sizeof(self.table))
        for i in range(self.block_count):
            b = self.blocks[i]
            if not b.dead:
                self.blocks[kept] = b
                kept += 1
                if b.listed:
                    b.hash_next = self.table[(b.pc >> 1) & (HASH_SIZE - 1)]
                    self.table[(b.pc >> 1) & (HASH_SIZE - 1)] = b
                continue
            append(&self.dead, &self.dead_count, &self.dead_room, b)
        self.block_count = kept
        return 0

    cdef int fold_dead(self) except -1:
        """Take the counts of unlinked blocks into the totals and free them."""
        cdef int i
        cdef uint32_t j
        cdef block *b
        cdef uint64_t n
        for i in range(self.dead_count):
            b = self.dead[i]
            for j in range(b.count_n):
                self.settle(b, j)
                n = executed(b, j)
                extra = self.edge_cycles(b, j)
                if (n and b.meta[j].instruction != NO_INSTRUCTION) or extra:
                    size = (b.meta[j + 1].offset if j + 1 < b.count_n else b.end - b.pc) - b.meta[j].offset
                    # Under other words of the same address: a program that rewrites itself stays bounded by its memory.
                    entry = self.folded.setdefault((b.pc + b.meta[j].offset, b.meta[j].instruction), [0, 0, size])
                    entry[0] += n
                    entry[1] += n * b.meta[j].cost + self.divide_cycles(b, j) + extra
                    self.fetched(b.pc + b.meta[j].offset, n, size)
            self.folded_cycles += self.cycles_of(b)
            if b.count_n and b.meta[b.count_n - 1].instruction < self.kind_count and self.kinds[b.meta[b.count_n - 1].instruction].is_branch:
                self.folded_taken += b.taken
            self.folded_misaligned += b.misaligned
            self.cached -= b.count_n
            free_block(b, self)
        self.dead_count = 0
        return 0

    def flush(self):
        """Forget every predecoded block, keeping all counts."""
        cdef int i
        for i in range(self.block_count):
            self.blocks[i].dead = 1
        self.bury()
        self.fold_dead()

    # ------------------------------------------------------------ windows and counts of accesses
    cdef void settle(self, block *b, uint32_t i) noexcept nogil:
        """Credit an access instruction's executions since the last time to the interval of its window."""
        cdef meta *m = &b.meta[i]
        cdef uint64_t n
        cdef Interval *w
        cdef Kind *kind
        if m.interval < 0:
            return
        kind = &self.kinds[m.instruction]
        n = executed(b, i) - m.base
        m.base += n
        w = &self.intervals[m.interval]
        if kind.is_store:
            w.store_count += n
            w.store_bytes += n * kind.access
        else:
            w.load_count += n
            w.load_bytes += n * kind.access

    cdef int access(self, block *b, insn *e, uint32_t address, int size, bint store, uint8_t **host) noexcept nogil:
        """An access outside its window: check it, count it, move the window. 0 done in place, 1 trap, 2 bytes straddle regions."""
        cdef uint32_t i = <uint32_t>(e - b.code), low, last, unit = size - 1
        cdef meta *m = &b.meta[i]
        cdef uint64_t before
        cdef int n = self.interval(address), k
        cdef Region *r
        cdef Interval *w
        if m.interval >= 0:
            # This execution, which the entry already counts, is credited below to where it really goes.
            before = executed(b, i) - 1
            w = &self.intervals[m.interval]
            if store:
                w.store_count += before - m.base
                w.store_bytes += (before - m.base) * size
            else:
                w.load_count += before - m.base
                w.load_bytes += (before - m.base) * size
            m.interval = -1
        e.units = 0
        if address & unit:
            if not self.split_misaligned:
                self.h.cause, self.h.irq, self.h.tval = 6 if store else 4, 0, address
                return 1
        if n < 0 or not self.regions[self.intervals[n].region].permissions & (WRITE if store else READ):
            self.h.cause, self.h.irq, self.h.tval = 7 if store else 5, 0, address
            return 1
        w = &self.intervals[n]
        r = &self.regions[w.region]
        if size - 1 > r.last - address:
            self.h.cause, self.h.irq, self.h.tval = 7 if store else 5, 0, r.last + 1
            return 1
        # Within an aligned word a halfword is still one access (Ibex: lh at byte 1).
        if address & unit and (size == 4 or address & 3 == 3):
            b.misaligned += 1
        if store:
            w.store_count += 1
            w.store_bytes += size
        else:
            w.load_count += 1
            w.load_bytes += size
        host[0] = r.data + (address - r.base)
        low, last = w.low, w.last
        if store and w.code:
            # Only the bytes around that hold no code may be written without a check.
            if r.code[(address - r.base) // GRANULE]:
                return 0
            low = max(w.low, r.base + (address - r.base) // GRANULE * GRANULE)
            last = min(w.last, r.base + ((address - r.base) // GRANULE * GRANULE + GRANULE - 1))
            for k in range(WINDOW_GRANULES):
                if low > w.low and not r.code[(low - 1 - r.base) // GRANULE]:
                    low = max(w.low, r.base + (low - 1 - r.base) // GRANULE * GRANULE)
                if last < w.last and not r.code[(last + 1 - r.base) // GRANULE]:
                    last = min(w.last, last + GRANULE)
        w.stored |= store
        # The window is made of whole aligned units; an access at the odd ends of an interval comes here each time.
        low = (low + unit) & ~unit
        if low > last or last - low < unit or address & unit or address < low or address - low + unit > last - low:
            return 0
        e.k[1] = low
        e.units = <uint32_t>((<uint64_t>(last - low) + 1) // size)
        e.host = r.data + (low - r.base)
        m.interval = n
        m.base = executed(b, i)
        return 0

    # ------------------------------------------------------------ running
    def run(self, long long limit):
        """Run until something needs the machine.

        Parameters
        ----------
        limit : int
            Instructions that may retire.

        Returns
        -------
        tuple
            ("limit",), ("interrupted",), ("wait",) or ("trap", pc, irq, cause, tval); the pc is where execution stands.
        """
        cdef block *b
        cdef block *left
        cdef int reason
        cdef int64_t given = 0
        cdef block *once
        self.pending = None
        self.h.fuel = 0
        while True:
            if self.h.fuel <= 0:
                if given >= limit:
                    return ("limit",)
                try:
                    PyErr_CheckSignals()
                except KeyboardInterrupt:
                    self.granted -= self.h.fuel
                    self.h.fuel = 0
                    return ("interrupted",)
                self.h.fuel = min(<int64_t>PERIOD, limit - given)
                given += self.h.fuel
                self.granted += self.h.fuel
            if self.dead_count:
                self.fold_dead()
            if self.cached > CACHE_LIMIT:
                self.flush()
            b = self.find(self.h.pc)
            if b == NULL:
                b = self.build(self.h.pc, BLOCK_LIMIT)
                b.listed = 1
                self.insert(b)
            once = NULL
            if b.count_n > self.h.fuel:
                if given < limit:
                    # The period is over, not the run.
                    given -= self.h.fuel
                    self.granted -= self.h.fuel
                    self.h.fuel = 0
                    continue
                # The last few instructions: a block of exactly as many, used once.
                b = self.build(self.h.pc, <uint32_t>self.h.fuel)
                self.keep(b)
                once = b
            with nogil:
                reason = hart_run(&self.h, b)
                while reason == EXIT_LOOKUP:
                    left = self.h.from_
                    b = self.find(self.h.pc)
                    if b == NULL or b.count_n > self.h.fuel:
                        break
                    self.link(left, b)
                    reason = hart_run(&self.h, b)
            left = self.h.from_
            if once != NULL and not once.dead:
                # Nothing leads to it again; its counts are folded into the totals.
                once.dead = 1
                self.bury()
            if reason == EXIT_LOOKUP:
                if b == NULL:
                    b = self.build(self.h.pc, BLOCK_LIMIT)
                    b.listed = 1
                    self.insert(b)
                self.link(left, b)
                continue
            if reason == EXIT_FUEL:
                if given < limit:
                    given -= self.h.fuel
                    self.granted -= self.h.fuel
                    self.h.fuel = 0
                continue
            if reason == EXIT_MODIFIED:
                self.leave_early(left, self.h.index)
                self.h.pc = left.end if self.h.index == left.count_n else left.pc + left.meta[self.h.index].offset
                continue
            if reason == EXIT_SYSTEM:
                if self.pending is not None:
                    self.stop_period(&given)
                    raise self.pending
                continue
            if reason == EXIT_WAIT:
                self.stop_period(&given)
                return ("wait",)
            # A trap: the instruction did not retire.
            self.leave_early(left, self.h.index)
            self.h.pc = left.pc + left.meta[self.h.index].offset
            self.stop_period(&given)
            self.trapped = left
            if self.pending is not None:
                raise self.pending
            tval = self.h.tval
            if self.h.cause == 2 and not self.h.irq:
                tval = left.meta[self.h.index].word
            self.h.tval = 0
            return ("trap", self.h.pc, self.h.irq, self.h.cause, tval)

    def complete(self):
        """Retire the instruction that `run` has just reported as trapped: the host did its work (ecall, ebreak)."""
        cdef uint32_t i = self.h.index
        self.trapped.exits[i] -= 1
        self.granted += self.trapped.count_n - i
        self.h.pc = self.trapped.end

    cdef void stop_period(self, int64_t *given) noexcept:
        """Give back what is left of the period, so that `instructions` is exact."""
        given[0] -= self.h.fuel
        self.granted -= self.h.fuel
        self.h.fuel = 0

    cdef int leave_early(self, block *b, uint32_t index) except -1:
        """The block was left before instruction `index` retired."""
        if index >= b.count_n:
            return 0
        if b.exits == NULL:
            b.exits = <uint64_t *>PyMem_Calloc(b.count_n, sizeof(uint64_t))
            if b.exits == NULL:
                raise MemoryError
        b.exits[index] += 1
        self.h.fuel += b.count_n - index
        return 0

    cdef void link(self, block *left, block *b) noexcept nogil:
        """Remember where the edge just taken leads."""
        if self.h.edge == EDGE_NEXT:
            left.next = b
        elif self.h.edge == EDGE_TAKEN:
            left.target = b
            if left.target_straddles != b.straddles:
                # Code at the target has changed: what was taken before this once led to the other kind.
                left.straddled += (left.taken - 1 - left.straddled_from) * left.target_straddles
                left.straddled_from = left.taken - 1
                left.target_straddles = b.straddles
        elif self.h.edge == EDGE_INDIRECT:
            self.h.jump[(b.pc >> 1) & (JUMP_CACHE - 1)] = b
            b.entered += 1

    # ------------------------------------------------------------ totals
    @property
    def instructions(self):
        """Instructions retired so far."""
        return self.granted - self.h.fuel - self.unretired

    cdef int64_t edge_cycles(self, block *b, uint32_t i) except? -1:
        """Cycles beyond an instruction's own cost: of the way into a block and its split accesses at the first one, of the way out at the last."""
        cdef int64_t total = 0
        cdef int last = b.meta[b.count_n - 1].instruction
        if i == 0:
            total += b.misaligned * self.misaligned_cost
            if b.straddles:
                total += b.entered * self.straddle_cost
        if i == b.count_n - 1:
            if last < self.kind_count and self.kinds[last].is_branch:
                total += b.taken * self.taken_cost
            total += (b.straddled + (b.taken - b.straddled_from) * b.target_straddles) * self.straddle_cost
        return total

    cdef int64_t divide_cycles(self, block *b, uint32_t i) except? -1:
        """Cycles by which a division's operands change its cost."""
        cdef int64_t total = 0
        cdef int64_t cost = b.meta[i].cost
        cdef uint64_t *histogram = <uint64_t *>b.code[i].host
        cdef int n
        if self.divide_costs is None or b.meta[i].instruction >= self.kind_count or not self.kinds[b.meta[i].instruction].divide:
            return 0
        for n in range(DIVIDE_BUCKETS):
            if histogram[n]:
                total += histogram[n] * (<int64_t>self.divide_costs[n] - cost)
        return total

    cdef int64_t cycles_of(self, block *b) except? -1:
        cdef int64_t total = <int64_t>(b.count * b.cycles)
        cdef uint32_t i, j
        if b.exits != NULL:
            for i in range(b.count_n):
                if b.exits[i]:
                    for j in range(i, b.count_n):
                        total -= b.exits[i] * b.meta[j].cost
        for i in range(b.count_n):
            total += self.divide_cycles(b, i) + self.edge_cycles(b, i)
        return total

    @property
    def cycles(self):
        """Cycles so far. Within a CSR access: those before the instruction."""
        cdef int64_t total = self.folded_cycles + self.stall_cycles + self.traps * self.trap_cost
        cdef int i
        for i in range(self.block_count):
            total += self.cycles_of(self.blocks[i])
        for i in range(self.dead_count):
            total += self.cycles_of(self.dead[i])
        return total

    cdef int fetched(self, uint32_t pc, uint64_t n, int size) except -1:
        cdef Region *r = self.region(pc)
        if r != NULL:
            r.fetch_count += n
            r.fetch_bytes += n * size
        return 0

    def traffic(self):
        """Counts of all accesses so far.

        Returns
        -------
        tuple of list
            For each region (fetch count, fetch bytes); for each interval (load count, load bytes, store count, store bytes).
        """
        cdef int i
        cdef uint32_t j, size
        cdef block *b
        cdef Region *r
        self.fold_dead()
        fetch = [(self.regions[i].fetch_count, self.regions[i].fetch_bytes) for i in range(self.region_count)]
        for i in range(self.block_count):
            b = self.blocks[i]
            r = self.region(b.pc)
            if r == NULL:
                continue
            count = bytes_ = 0
            for j in range(b.count_n):
                self.settle(b, j)
                if b.meta[j].instruction == NO_INSTRUCTION:
                    continue
                size = (b.meta[j + 1].offset if j + 1 < b.count_n else b.end - b.pc) - b.meta[j].offset
                count += executed(b, j)
                bytes_ += executed(b, j) * size
            n = r - self.regions
            fetch[n] = (fetch[n][0] + count, fetch[n][1] + bytes_)
        accesses = [
            (self.intervals[i].load_count, self.intervals[i].load_bytes, self.intervals[i].store_count, self.intervals[i].store_bytes)
            for i in range(self.interval_count)
        ]
        return fetch, accesses

    def profile(self):
        """Executions by instruction.

        Returns
        -------
        list of (pc, instruction number, size, executions, cycles)
            Cycles include what the instruction's branch, split accesses and operands cost; an address may appear more than once, and one
            that stalled without retiring has no executions.
        """
        cdef int i
        cdef uint32_t j, size
        cdef uint64_t n
        cdef block *b
        self.fold_dead()
        rows = [(pc, instruction, entry[2], entry[0], entry[1]) for (pc, instruction), entry in self.folded.items()]
        for i in range(self.block_count):
            b = self.blocks[i]
            for j in range(b.count_n):
                n = executed(b, j)
                extra = self.edge_cycles(b, j)
                if (b.meta[j].instruction == NO_INSTRUCTION or not n) and not extra:
                    continue
                size = (b.meta[j + 1].offset if j + 1 < b.count_n else b.end - b.pc) - b.meta[j].offset
                cycles = n * b.meta[j].cost + self.divide_cycles(b, j) + extra
                rows.append((b.pc + b.meta[j].offset, b.meta[j].instruction, size, n, cycles))
        return rows

    @property
    def taken_branches(self):
        """Conditional branches that were taken."""
        cdef int i
        cdef block *b
        self.fold_dead()
        total = self.folded_taken
        for i in range(self.block_count):
            b = self.blocks[i]
            if b.count_n and b.meta[b.count_n - 1].instruction < self.kind_count and self.kinds[b.meta[b.count_n - 1].instruction].is_branch:
                total += b.taken
        return total

    @property
    def misaligned_accesses(self):
        """Loads and stores that were split in two."""
        cdef int i
        self.fold_dead()
        total = self.folded_misaligned
        for i in range(self.block_count):
            total += self.blocks[i].misaligned
        return total


cdef int append(block ***list_, int *count, int *room, block *b) except -1:
    """Add a block to a growing list."""
    cdef int more = max(256, 2 * room[0])
    cdef block **grown
    if count[0] == room[0]:
        grown = <block **>PyMem_Realloc(list_[0], more * sizeof(block *))
        if grown == NULL:
            raise MemoryError
        list_[0], room[0] = grown, more
    list_[0][count[0]] = b
    count[0] += 1
    return 0


cdef void fuse(insn *code, int *which, uint32_t n) noexcept nogil:
    """Let one handler do two instructions where the generated code has one for both; traps still tell them apart."""
    cdef uint32_t i = 0
    cdef int pair
    while i + 1 < n:
        pair = pair_of(which[i], which[i + 1]) if which[i] >= 0 and which[i + 1] >= 0 else 0
        if pair:
            code[i].handler = pair_address[pair - 1]
            i += 1
        i += 1


cdef void free_block(block *b, Hart hart_) noexcept:
    cdef uint32_t j
    for j in range(b.count_n):
        if b.meta[j].instruction < hart_.kind_count and hart_.kinds[b.meta[j].instruction].divide:
            PyMem_Free(b.code[j].host)
    PyMem_Free(b.code)
    PyMem_Free(b.meta)
    PyMem_Free(b.exits)
    PyMem_Free(b)


# ------------------------------------------------------------ called from the loop
cdef int slow_load(hart *h, block *b, insn *e, uint32_t address, int size, uint32_t *value) noexcept nogil:
    cdef uint8_t *host = NULL
    if (<Hart>h.self).access(b, e, address, size, False, &host):
        return 1
    value[0] = 0
    memcpy(value, host, size)
    return 0


cdef int slow_store(hart *h, block *b, insn *e, uint32_t address, int size, uint32_t value) noexcept nogil:
    cdef uint8_t *host = NULL
    if (<Hart>h.self).access(b, e, address, size, True, &host):
        return 1
    memcpy(host, &value, size)
    return 2 if (<Hart>h.self).code_written((<Hart>h.self).region(address), address, size) else 0


cdef int slow_csr(hart *h, block *b, insn *e, uint32_t number, int write, uint32_t *value) noexcept with gil:
    cdef Hart self = <Hart>h.self
    cdef uint32_t i = <uint32_t>(e - b.code)
    try:
        # The access itself has not retired: instructions and cycles are those before it.
        self.unretired += 1
        self.stall_cycles -= b.meta[i].cost
        try:
            if write:
                self.machine.csr_write(number, value[0])
            else:
                value[0] = self.machine.csr_read(number)
        finally:
            self.unretired -= 1
            self.stall_cycles += b.meta[i].cost
    except GuestTrap as trap:
        h.irq, h.cause, h.tval = trap.irq, trap.cause, trap.tval
        return 1
    except BaseException as error:
        self.pending = error
        h.irq, h.cause = 0, 24
        return 1
    return 0


cdef int slow_custom(hart *h, block *b, insn *e) noexcept with gil:
    cdef Hart self = <Hart>h.self
    cdef uint32_t i = <uint32_t>(e - b.code)
    cdef uint32_t pc = b.pc + b.meta[i].offset
    cdef uint32_t behind = b.end if i + 1 == b.count_n else b.pc + b.meta[i + 1].offset
    cdef int last = i + 1 == b.count_n
    try:
        # What reads the counters ends its block, and has not retired.
        self.unretired += last
        self.stall_cycles -= last * b.meta[i].cost
        try:
            target = self.machine.custom(e.k[0], b.meta[i].word, pc)
        finally:
            self.unretired -= last
            self.stall_cycles += last * b.meta[i].cost
        h.pc = behind if target is None else target
    except GuestTrap as trap:
        h.irq, h.cause, h.tval = trap.irq, trap.cause, trap.tval
        return 1
    except BaseException as error:
        self.pending = error
        h.irq, h.cause = 0, 24
        return 1
    return 0


cdef uint32_t slow_leave(hart *h) noexcept with gil:
    cdef Hart self = <Hart>h.self
    try:
        return self.machine.trap_return()
    except BaseException as error:
        self.pending = error
        return h.pc
