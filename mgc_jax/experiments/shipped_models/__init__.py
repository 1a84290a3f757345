"""Builds the models that come with the package.

`python -m mgc_jax.experiments.shipped_models.build`.
"""
