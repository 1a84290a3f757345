"""GTMA, corrected: GTZAN and FMA-medium mixed, 10 genres x 250 tracks.

The baseline's list had FMA's Instrumental tracks twice, the second time as
electronic; here these are replaced by Electronic tracks. The window protocol
uses the baseline's own list with its faults, only to compare with its published
numbers.
"""

from mgc_jax.config.schema import DataConfig
from mgc_jax.datasets.published import facts
from mgc_jax.datasets.sources import fma, gtzan
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import ConfigError


def list_tracks(data: DataConfig) -> list[Track]:
  """Lists the tracks of a published split, even if files are missing.

  Args:
    data: `config.data`; `gtzan_root` and `fma_root` are what `root` is for the
      sources gtzan and fma; `protocol` selects the split: artist (the default),
      track or window.

  Returns:
    Tracks with `track_id` `gtzan/<genre>.<number>` or `fma/<number>`, with the
    prefix `<genre>/` under the window protocol, where a track may have two
    genres.

  Raises:
    ConfigError: a root is unset.
    DataError: a root is not a folder, or does not contain GTZAN or FMA.
  """
  if not data.gtzan_root:
    raise ConfigError('config.data.gtzan_root: not set; specify the folder')
  if not data.fma_root:
    raise ConfigError('config.data.fma_root: not set; specify the folder')
  folders = {
    'gtzan': gtzan.genres_folder(data.gtzan_root),
    'fma': fma.audio_folder(data.fma_root, 'medium'),
  }
  digests = fma.digests_of(folders['fma'])
  finders = {'gtzan': gtzan.find, 'fma': fma.find}
  protocol = data.protocol if data.protocol in ('track', 'window') else 'artist'
  rows = facts.read_facts(facts.manifest_path(f'gtma_{protocol}'))

  def track(row: dict[str, str], **more: object) -> Track:
    source = row['source']
    path, problem = finders[source](folders[source], row['track_id'])
    digest = digests.get(path.rpartition('/')[2])
    more = {'digest': digest, **more} if digest else more
    return gtzan.make_track(row, path, problem, **more)

  if protocol != 'window':
    return [track(row, split=row['split']) for row in rows]
  windows: dict[tuple[str, str], list[dict[str, str]]] = {}
  for row in rows:
    windows.setdefault((row['genre'], row['track_id']), []).append(row)
  tracks = []
  for (genre, track_id), rows in windows.items():
    rows.sort(key=lambda row: int(row['window']))
    splits = tuple(row['split'] for row in rows)
    name = f'{genre}/{track_id}'
    tracks.append(track(rows[0], track_id=name, window_splits=splits))
  return tracks
