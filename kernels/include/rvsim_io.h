/* RVSIM_IO(JSON): say in the ELF which symbols hold the input and output tensors (docs/architecture.md). */
#ifndef RVSIM_IO_H
#define RVSIM_IO_H

/* Written as plain JSON; macros in it are expanded. Quoted twice, once for C and once for the assembler.
   Assembly and not a C array, because only so is the section not loaded into memory. */
#define RVSIM_IO(...) RVSIM_IO_TEXT(__VA_ARGS__)
#define RVSIM_IO_TEXT(...) RVSIM_IO_SECTION(#__VA_ARGS__)
#define RVSIM_IO_SECTION(text) \
  __asm__(".pushsection .rvsim.io,\"\",%progbits\n.ascii " RVSIM_IO_QUOTE(text) "\n.popsection\n")
#define RVSIM_IO_QUOTE(text) #text

#endif
