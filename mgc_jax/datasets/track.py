"""Describes one track of a source."""

import dataclasses
import re

from mgc_jax.audio.names import known_artist

_REMOTE = re.compile('(gs|s3)://')


@dataclasses.dataclass(frozen=True)
class Track:
  """One track of a source; facts only, nothing is read from its file."""

  track_id: str  # unique in its source
  path: str  # absolute; or a name that only its source understands
  genre: str
  # Of any spelling; kept in the form of `names.known_artist`, in which artists
  # are compared. '' where unknown; it equals no other.
  artist: str = ''
  album: str = ''
  title: str = ''
  split: str = ''  # train, valid, test, or '' where the source gives none
  source: str = ''  # the collection it is from, where there are several
  window_splits: tuple[str, ...] = ()  # of its windows, where they have each
  duration_s: float = 0.0  # that its file should have; 0 where unknown
  digest: str = ''  # of its file, <algorithm>:<hexadecimal>; '' where unknown
  problem: str = ''  # why its file is not to be opened; '' where it is

  def __post_init__(self) -> None:
    """Normalises the artist, so that nobody compares spellings."""
    object.__setattr__(self, 'artist', known_artist(self.artist))


def is_remote(path: str) -> bool:
  """Returns whether a path names another machine: `gs://...`, `s3://...`."""
  return bool(_REMOTE.match(path))
