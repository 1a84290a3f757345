"""Comparative benchmarks; each prints ratios and how to reproduce them."""
