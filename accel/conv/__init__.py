"""The convolution coprocessor: a PE array that runs a quantised layer per command, bit for bit as TFLite Micro does."""
