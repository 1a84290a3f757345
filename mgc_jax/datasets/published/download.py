"""Downloads a file from several mirrors, resuming after an interruption."""

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
_MAX_ATTEMPTS = 4  # at one mirror, without receiving another byte


@dataclasses.dataclass(frozen=True)
class Archive:
  """A file that is available from several mirrors."""

  name: str
  mirrors: tuple[str, ...]  # URLs, in the order in which they are tried
  algorithm: str  # of the digest: sha1 or md5; '' if none is known
  digest: str
  # The exact size if no digest is known, otherwise an upper bound; 0: unknown.
  size_bytes: int


class _MirrorError(Exception):
  """A mirror does not have the file, or stops sending it."""


def download(
  archive: Archive,
  folder: pathlib.Path,
  timeout_s: float = 30.0,
  wait_s: float = 1.0,
) -> pathlib.Path:
  """Downloads a file and verifies it, unless it exists already.

  An incomplete file is kept as `<name>.partial`, and the next call resumes it.

  Args:
    archive: the file to download.
    folder: where to save it.
    timeout_s: how long a connection may be silent before it is closed.
    wait_s: the delay before the second attempt; it doubles with each attempt.

  Returns:
    The path of the file. Its digest was verified, or its size if no digest is
    known.

  Raises:
    DataError: no mirror sent the expected file, or the disk is full; says what
      happened at each mirror.
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
      # It is not known which of its bytes are wrong.
      partial.unlink()
      reasons.append(f'{url}: {problem}')
    except _MirrorError as error:
      reasons.append(f'{url}: {error}')
    except OSError as error:
      if error.errno == errno.ENOSPC:
        raise DataError(
          f'{partial}: the disk is full; free some space and run this again to '
          'resume'
        ) from error
      raise DataError(f'{partial}: {error.strerror or error}') from error
    _logger.warning('%s', reasons[-1])
  raise DataError(f'{archive.name}: download failed. ' + '; '.join(reasons))


def _problem(archive: Archive, path: pathlib.Path) -> str:
  """Returns what is wrong with a complete file, or ''."""
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
  """Downloads the rest of a file; retries as long as it makes progress."""
  attempts, previous = 0, -1
  while True:
    try:
      if _get_rest(url, archive, partial, timeout_s):
        return
      reason = 'the connection was interrupted'
    except requests.RequestException as error:
      reason = f'no connection ({type(error).__name__})'
    size = partial.stat().st_size if partial.exists() else 0
    attempts = 1 if size > previous else attempts + 1
    previous = size
    if attempts >= _MAX_ATTEMPTS:
      raise _MirrorError(f'{reason}, {attempts} times at byte {size:,}')
    _logger.info('%s: %s at byte %s; trying again', url, reason, f'{size:,}')
    time.sleep(wait_s * 2 ** (attempts - 1))


def _get_rest(
  url: str, archive: Archive, partial: pathlib.Path, timeout_s: float
) -> bool:
  """Requests the rest of a file once; returns whether all of it arrived."""
  offset = partial.stat().st_size if partial.exists() else 0
  with _open(url, offset, timeout_s) as response:
    if response.status_code == 416:  # nothing follows what is already here
      if response.headers.get('Content-Range') == f'bytes */{offset}':
        return True
      partial.unlink()
      return False
    total, start = _extent(response, offset)
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
          raise _MirrorError(f'sends more than {limit:,} bytes')
        file.write(chunk)
        bar.update(len(chunk))
    return not total or start == total


def _extent(response: requests.Response, offset: int) -> tuple[int, int]:
  """Returns the total size of the file, 0 if unknown, and the first byte."""
  if response.status_code == 206:
    unit, _, rest = response.headers.get('Content-Range', '').partition(' ')
    found, _, total = rest.partition('/')
    if unit != 'bytes' or not found.startswith(f'{offset}-'):
      raise _MirrorError(f'sends bytes {found}, not from {offset:,}')
    return (int(total) if total.isdecimal() else 0), offset
  if response.status_code == 200:  # no support for ranges: start again
    length = response.headers.get('Content-Length', '')
    return (int(length) if length.isdecimal() else 0), 0
  raise _MirrorError(f'status {response.status_code} {response.reason}')


def _open(url: str, offset: int, timeout_s: float) -> requests.Response:
  """Requests a file from an offset; follows redirects unless to plain HTTP."""
  headers = {'Accept-Encoding': 'identity'}
  if offset:
    headers['Range'] = f'bytes={offset}-'
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
      raise _MirrorError(f'redirects from {schemes[0]} to {target}; rejected')
    url = target
  raise _MirrorError(f'more than {_MAX_REDIRECTS} redirects')
