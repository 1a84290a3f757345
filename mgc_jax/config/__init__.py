"""The configuration: its fields, its rules, and recipes for config files.

Config files import from here: `from mgc_jax.config import base_config`.
"""

from ml_collections import ConfigDict

from mgc_jax.config.schema import Config, base_config, validate

__all__ = ['Config', 'ConfigDict', 'base_config', 'validate']
