"""Fast CPU versions of operations that XLA compiles to slow code."""
