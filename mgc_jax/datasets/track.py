"""The description of a track, as sources list it."""

import dataclasses
import re

from mgc_jax.audio.names import known_artist

_REMOTE = re.compile('(gs|s3)://')


@dataclasses.dataclass(frozen=True)
class Track:
  """One track of a source, as listed; nothing is read from its file.

  Attributes:
    track_id: unique in the source.
    path: absolute, or a name that only the source understands.
    genre: as the source spells it.
    artist: given in any spelling and stored as `names.known_artist` returns
      it, the form in which artists are compared. '' if unknown; an unknown
      artist equals no other.
    album: '' if unknown.
    title: '' if unknown.
    split: train, valid or test; '' if the source gives none.
    source: the collection that the track is from, if there are several.
    window_splits: the split of each window, if windows have their own.
    duration_s: the expected length of the file; 0 if unknown.
    digest: the expected digest of the file, `<algorithm>:<hexadecimal>`; '' if
      unknown.
    problem: why the file must not be opened; '' if it may.
  """

  track_id: str
  path: str
  genre: str
  artist: str = ''
  album: str = ''
  title: str = ''
  split: str = ''
  source: str = ''
  window_splits: tuple[str, ...] = ()
  duration_s: float = 0.0
  digest: str = ''
  problem: str = ''

  def __post_init__(self) -> None:
    """Normalises the artist."""
    object.__setattr__(self, 'artist', known_artist(self.artist))


def is_remote(path: str) -> bool:
  """Returns whether a path is in a bucket: `gs://...` or `s3://...`."""
  return bool(_REMOTE.match(path))
