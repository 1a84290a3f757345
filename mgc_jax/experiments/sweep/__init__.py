"""Several seeds of several settings: `python -m mgc_jax.experiments.sweep`."""
