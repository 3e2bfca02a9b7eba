"""The instruction set as data: CoreDSL 2 in, decoder, disassembler, evaluator and the interpreter's source out."""
