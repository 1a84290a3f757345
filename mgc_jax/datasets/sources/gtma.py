"""GTMA mended: GTZAN and FMA-medium mixed, 10 genres x 250 tracks.

The seed's list had FMA's Instrumental tracks twice, once as electronic; here
Electronic tracks stand in their place. Under protocol window it is the seed's
own list, faults and all, to be compared with its published numbers only.
"""

from ml_collections import ConfigDict

from mgc_jax.datasets.published import facts
from mgc_jax.datasets.sources import fma, gtzan
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import ConfigError


def list_tracks(data: ConfigDict) -> list[Track]:
  """Lists the tracks of a published split, present or not.

  Args:
    data: `config.data`; `gtzan_root` and `fma_root` are the users' copies, as
      the sources gtzan and fma have them in `root`; `protocol` names the split,
      of artist (also where unset), track and window.

  Returns:
    Tracks with `track_id` `gtzan/<genre>.<number>` or `fma/<number>`; under
    protocol window, where a track may have two genres, `<genre>/` before it.

  Raises:
    ConfigError: a root is unset.
    DataError: there is no such folder, or no GTZAN or FMA in it.
  """
  for name in ('gtzan_root', 'fma_root'):
    if not data[name]:
      raise ConfigError(f'config.data.{name}: unset; name the folder')
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
  for (genre, track_id), its in windows.items():
    its.sort(key=lambda row: int(row['window']))
    splits = tuple(row['split'] for row in its)
    name = f'{genre}/{track_id}'
    tracks.append(track(its[0], track_id=name, window_splits=splits))
  return tracks
