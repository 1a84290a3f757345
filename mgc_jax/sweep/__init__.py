"""Several seeds of several settings: `python -m mgc_jax.sweep`."""
