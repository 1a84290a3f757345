"""What a leaking split is worth: `python -m mgc_jax.experiments.leakage`."""
