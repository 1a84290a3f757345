"""Side-by-side timings; each prints a ratio and how to repeat it."""
