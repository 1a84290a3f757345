"""Studies over many runs.

Sweeps, cross-validation, the leakage study, the shipped models.
"""
