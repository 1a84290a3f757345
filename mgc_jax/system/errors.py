"""Errors that the user can fix; each message says what is wrong and how."""


class ConfigError(ValueError):
  """A field of the configuration or a flag is wrong (exit code 2)."""


class DataError(ValueError):
  """A file, manifest, record or bundle is wrong (exit code 1)."""


class RemoteError(OSError):
  """The server of a remote file does not respond (the file may be fine)."""
