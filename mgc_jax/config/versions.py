"""Reads settings in files that older versions of this package wrote.

Three kinds of file have settings: the `bundle.json` of a bundle, the JSON in an
exported model, and the `config.json` of a run. Each names the version of its
format; a `config.json` of version 2 names none.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mgc_jax.config.schema import Config, base_config

FORMAT_VERSION = 3
VERSION_FIELD = 'format_version'
READABLE = (2, 3)
# Names that version 3 changed: the old path, and the last part of the new one.
_RENAMED = {
  'model.cnn.fold_frames': 'stack_frames',
  'model.cnn.fold_bands': 'stack_bands',
  'model.lstm.frames_per_step': 'stack_frames',
  'model.lstm.differences': 'deltas',
  'train.freeze_body': 'freeze_backbone',
  'train.recount_batch_stats': 'precise_batch_norm',
}
# Fields that were added later, with the values that change nothing.
_ADDED = {
  'augment': {'floor_db': 0.0, 'low_pass_bands': 0, 'mix_style_alpha': 0.0},
  'data': {'near_duplicates': False, 'test_source': None},
  'features': {'extractor': 'log_mel'},
  'train': {'own_genres_only': False},
}
_OLD_NAMES = {
  f'{path.rpartition(".")[0]}.{new}': path.rpartition('.')[2]
  for path, new in _RENAMED.items()
}


def upgrade(found: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the content of a settings file with the present fields.

  Args:
    found: Content of a file, of a version in `READABLE`.
  """
  version = found.get(VERSION_FIELD, READABLE[0])
  is_current = version == FORMAT_VERSION
  upgraded = dict(found) if is_current else _renamed(found, _RENAMED)
  for section, added in _ADDED.items():
    if isinstance(upgraded.get(section), Mapping):
      upgraded[section] = {**added, **upgraded[section]}
  return upgraded


def downgrade(found: Mapping[str, Any]) -> dict[str, Any]:
  """Returns settings with the fields that version 2 had.

  A field that was added later is left out if its value changes nothing.

  Digests are computed from these, so that a model has the same digest as
  before, and an index of a collection made with it stays valid.
  """
  renamed = _renamed(found, _OLD_NAMES)
  for section, added in _ADDED.items():
    if section in renamed:
      values = renamed[section].items()
      renamed[section] = {
        k: v for k, v in values if k not in added or added[k] != v
      }
  return renamed


def read_sections(found: Mapping[str, Any], names: Iterable[str]) -> Config:
  """Returns a configuration with some sections of a settings file.

  Args:
    found: Content of a file, of a version in `READABLE`.
    names: The sections to read; the others have their defaults.

  Raises:
    ConfigError: A value is wrong.
    AttributeError, KeyError, TypeError, ValueError: A section is missing, or
      has an unknown field or a value of another type.
  """
  content = upgrade(found)
  config = base_config().lock()  # an unknown field is an error
  for name in names:
    config[name].update(content[name])
  return Config.from_dict(config)


def _renamed(
  found: Mapping[str, Any], names: Mapping[str, str], prefix: str = ''
) -> dict[str, Any]:
  renamed = {}
  for name, value in found.items():
    path = f'{prefix}{name}'
    if isinstance(value, Mapping) and _has_fields(path, names):
      value = _renamed(value, names, f'{path}.')
    renamed[names.get(path, name)] = value
  return renamed


def _has_fields(path: str, names: Mapping[str, str]) -> bool:
  """Returns whether a section has a renamed field; others are left alone."""
  return any(name.startswith(f'{path}.') for name in names)
