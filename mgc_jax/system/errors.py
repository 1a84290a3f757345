"""The errors that a person can mend; each names the thing and the way."""


class ConfigError(ValueError):
  """A field of the configuration or a flag is wrong (exit code 2)."""


class DataError(ValueError):
  """A file, manifest, record or bundle is wrong (exit code 1)."""


class RemoteError(OSError):
  """What holds a file does not answer: nothing is known of the file itself."""
