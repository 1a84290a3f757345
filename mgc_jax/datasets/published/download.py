"""Downloads a file in parts that outlive an interrupt, from several mirrors."""

import dataclasses
import errno
import hashlib
import logging
import pathlib
import time
from urllib.parse import urljoin, urlsplit

import requests
from tqdm import tqdm

from mgc_jax.system.errors import DataError

_logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_MAX_REDIRECTS = 10
_MAX_ATTEMPTS = 4  # at one mirror, without a byte more than before


@dataclasses.dataclass(frozen=True)
class Archive:
  """A file to be had from several places."""

  name: str
  mirrors: tuple[str, ...]  # URLs, in the order in which they are tried
  algorithm: str  # of the digest: sha1, md5; '' where none is known
  digest: str
  size_bytes: int  # exactly where no digest is known, else a bound; 0: unknown


class _MirrorError(Exception):
  """A mirror does not have the file, or does not go on with it."""


def download(
  archive: Archive,
  folder: pathlib.Path,
  timeout_s: float = 30.0,
  wait_s: float = 1.0,
) -> pathlib.Path:
  """Downloads a file and checks it; what is there already is not asked for.

  What has come lies in `<name>.partial`; the next call goes on from there.

  Args:
    archive: what, and from where.
    folder: receives it.
    timeout_s: of silence, after which a connection is given up.
    wait_s: before the second attempt; doubled each time.

  Returns:
    The path of the file, with the digest, or where none is known the size, that
    it should have.

  Raises:
    DataError: no mirror has it, all of them sent other bytes, or the disk is
      full; says what happened at each mirror.
  """
  path = folder / archive.name
  if path.is_file():
    return path
  partial = folder / f'{archive.name}.partial'
  reasons = []
  for url in archive.mirrors:
    try:
      _fetch(url, archive, partial, timeout_s, wait_s)
      problem = _problem(archive, partial)
      if not problem:
        partial.replace(path)
        return path
      # Nobody can tell which of its bytes are wrong.
      partial.unlink()
      reasons.append(f'{url}: {problem}')
    except _MirrorError as error:
      reasons.append(f'{url}: {error}')
    except OSError as error:
      if error.errno == errno.ENOSPC:
        raise DataError(
          f'{partial}: the disk is full; make room, and run this again: it '
          'goes on'
        ) from error
      raise DataError(f'{partial}: {error.strerror or error}') from error
    _logger.warning('%s', reasons[-1])
  raise DataError(f'{archive.name}: not to be had. ' + '; '.join(reasons))


def _problem(archive: Archive, path: pathlib.Path) -> str:
  """Returns what is wrong with a whole file, or ''."""
  size = path.stat().st_size
  if not archive.digest:
    _logger.warning(
      '%s: no digest is known; only its size was checked', archive.name
    )
    if size != archive.size_bytes:
      return f'{size:,} bytes, not {archive.size_bytes:,}'
    return ''
  with path.open('rb') as file:
    found = hashlib.file_digest(file, archive.algorithm).hexdigest()
  if found != archive.digest:
    return f'wrong bytes: {archive.algorithm} {found}, not {archive.digest}'
  return ''


def _fetch(
  url: str,
  archive: Archive,
  partial: pathlib.Path,
  timeout_s: float,
  wait_s: float,
) -> None:
  """Gets what is missing; goes on after interruptions that bring it further."""
  attempts, had = 0, -1
  while True:
    try:
      if _get_rest(url, archive, partial, timeout_s):
        return
      reason = 'the connection was cut'
    except requests.RequestException as error:
      reason = f'no connection ({type(error).__name__})'
    has = partial.stat().st_size if partial.exists() else 0
    attempts = 1 if has > had else attempts + 1
    had = has
    if attempts >= _MAX_ATTEMPTS:
      raise _MirrorError(f'{reason}, {attempts} times at byte {has:,}')
    _logger.info('%s: %s at byte %s; trying again', url, reason, f'{has:,}')
    time.sleep(wait_s * 2 ** (attempts - 1))


def _get_rest(
  url: str, archive: Archive, partial: pathlib.Path, timeout_s: float
) -> bool:
  """Asks once for what is missing; returns whether all of it came."""
  has = partial.stat().st_size if partial.exists() else 0
  with _open(url, has, timeout_s) as response:
    if response.status_code == 416:  # nothing is behind what is here
      if response.headers.get('Content-Range') == f'bytes */{has}':
        return True
      partial.unlink()
      return False
    total, start = _extent(response, has)
    limit = total or archive.size_bytes
    mode = 'ab' if start else 'wb'
    bar = tqdm(
      desc=archive.name,
      initial=start,
      total=total or archive.size_bytes or None,
      unit='B',
      unit_scale=True,
      disable=None,
    )
    with partial.open(mode) as file, bar:
      for chunk in response.iter_content(_CHUNK_BYTES):
        start += len(chunk)
        if limit and start > limit:
          raise _MirrorError(f'sends over {limit:,} bytes')
        file.write(chunk)
        bar.update(len(chunk))
    return not total or start == total


def _extent(response: requests.Response, has: int) -> tuple[int, int]:
  """Returns the size of the whole file, 0 if unknown, and where this begins."""
  if response.status_code == 206:
    unit, _, rest = response.headers.get('Content-Range', '').partition(' ')
    place, _, total = rest.partition('/')
    if unit != 'bytes' or not place.startswith(f'{has}-'):
      raise _MirrorError(f'sends bytes {place}, not those from {has:,} on')
    return (int(total) if total.isdecimal() else 0), has
  if response.status_code == 200:  # it has no ranges: all of it again
    length = response.headers.get('Content-Length', '')
    return (int(length) if length.isdecimal() else 0), 0
  raise _MirrorError(f'status {response.status_code} {response.reason}')


def _open(url: str, has: int, timeout_s: float) -> requests.Response:
  """Follows redirects that do not lead to a weaker scheme."""
  headers = {'Accept-Encoding': 'identity'}
  if has:
    headers['Range'] = f'bytes={has}-'
  for _ in range(_MAX_REDIRECTS):
    response = requests.get(
      url,
      headers=headers,
      stream=True,
      timeout=timeout_s,
      allow_redirects=False,
    )
    if not response.is_redirect:
      return response
    target = urljoin(url, response.headers['Location'])
    response.close()
    schemes = urlsplit(url).scheme, urlsplit(target).scheme
    if schemes[1] != 'https' and schemes != ('http', 'http'):
      raise _MirrorError(f'leads from {schemes[0]} to {target}; refused')
    url = target
  raise _MirrorError(f'over {_MAX_REDIRECTS} redirects')
