"""Fields with a unit, a meaning and a rule, in frozen dataclasses.

`schema` has the fields themselves.
"""

import dataclasses
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from mgc_jax.config.rules import Rule
from mgc_jax.system.errors import ConfigError

_TYPE_REQUIREMENTS = {
  bool: 'True or False',
  int: 'an integer',
  float: 'a number',
  str: 'text',
}


@dataclasses.dataclass(frozen=True)
class Setting:
  """What is stated about a field besides its name, type and default."""

  meaning: str
  unit: str = ''
  rule: Rule | None = None


def setting(
  default: Any, meaning: str, *, unit: str = '', rule: Rule | None = None
) -> Any:
  """Returns a dataclass field.

  Args:
    default: Value of the field in `base_config`.
    meaning: One or two sentences for a person who sets the field.
    unit: Unit of the value, such as Hz.
    rule: What a value must be, besides having the type of the field.
  """
  return dataclasses.field(
    default=default, metadata={'setting': Setting(meaning, unit, rule)}
  )


@dataclasses.dataclass(frozen=True)
class Section:
  """A group of fields."""

  def to_dict(self) -> dict[str, Any]:
    """Returns the values by name, which JSON can hold."""
    return dataclasses.asdict(self)


def read_section(kind: Any, found: Any, path: str) -> Any:
  """Returns a section with the values of a ConfigDict or another mapping.

  Args:
    kind: Class of the section.
    found: The values by name, all of them.
    path: Name of the section in messages.

  Raises:
    ConfigError: A name is unknown or missing, or a value breaks its rule.
  """
  if not isinstance(found, ConfigDict | Mapping):
    raise ConfigError(f'{path}: must be a section of fields')
  fields = {one.name: one for one in dataclasses.fields(kind)}
  for name in found:
    if name not in fields:
      raise ConfigError(
        f'{path}.{name}: no such field; see mgc_jax/config/schema.py'
      )
  values = {}
  for name, one in fields.items():
    at = f'{path}.{name}'
    if name not in found:
      raise ConfigError(f'{at}: missing; see mgc_jax/config/schema.py')
    if dataclasses.is_dataclass(one.type):
      values[name] = read_section(one.type, found[name], at)
    else:
      values[name] = _checked(one, found[name], at)
  return kind(**values)


def config_dict(section: Section) -> ConfigDict:
  """Returns the values of a section, to be changed by a config file."""
  config = ConfigDict()
  for name, value in vars(section).items():
    if isinstance(value, Section):
      value = config_dict(value)
    config[name] = placeholder(str) if value is None else value
  return config


def settings(kind: type[Section]) -> Iterator[tuple[str, Any]]:
  """Yields path and dataclass field of every value, section by section."""
  for one in dataclasses.fields(kind):
    if dataclasses.is_dataclass(one.type):
      inner = typing.cast(type[Section], one.type)
      yield from ((f'{one.name}.{path}', f) for path, f in settings(inner))
    else:
      yield one.name, one


def table(kind: type[Section], section: ConfigDict | Section) -> str:
  """Returns a table of every field with its value, unit and meaning.

  Args:
    kind: Class of the section.
    section: The values.
  """
  rows = []
  for path, found in settings(kind):
    value, about = value_at(section, path), found.metadata['setting']
    text = 'unset' if value is None else str(value)
    choices = ', '.join(about.rule.choices) if about.rule else ''
    meaning = about.meaning + (f' One of {choices}.' if choices else '')
    rows.append((path, text, about.unit, meaning))
  widths = [max(len(row[i]) for row in rows) for i in range(3)]
  indent = sum(widths) + 2 * len(widths)
  lines = []
  for *cells, meaning in rows:
    cells = [cell.ljust(n) for cell, n in zip(cells, widths, strict=True)]
    first, *rest = textwrap.wrap(meaning, 56)
    lines.append('  '.join([*cells, first]))
    lines += [' ' * indent + line for line in rest]
  return '\n'.join(lines)


def value_at(section: ConfigDict | Section, path: str) -> Any:
  """Returns `config.<path>`; raises `ConfigError` if there is no such field."""
  value: Any = section
  for name in path.split('.'):
    if not hasattr(value, name):
      raise ConfigError(f'config.{path}: missing; see mgc_jax/config/schema.py')
    value = getattr(value, name)
  return value


def _checked(one: dataclasses.Field, value: Any, path: str) -> Any:
  rule, kind = one.metadata['setting'].rule, one.type
  if isinstance(kind, types.UnionType):  # str | None
    if value is None:
      return None
    kind = typing.get_args(kind)[0]
  try:
    typed = _as_type(kind, value)
  except TypeError:
    typed = None
  if typed is None or (rule and not rule.holds(typed)):
    requirement = (
      rule.requirement
      if rule
      else _TYPE_REQUIREMENTS.get(kind, 'a list of names')
    )
    raise ConfigError(f'{path}={value}: must be {requirement}')
  return typed


def _as_type(kind: Any, value: Any) -> Any:
  """Returns the value with its field's type; `TypeError` for another type."""
  if typing.get_origin(kind) is tuple:
    if not isinstance(value, list | tuple):
      raise TypeError
    return tuple(_as_type(typing.get_args(kind)[0], x) for x in value)
  if kind is float and type(value) is int and abs(value) < 2**53:
    return float(value)
  # Exactly: True is an int to `isinstance`.
  if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
    raise TypeError
  return value
