"""Unpacks untrusted archives safely: atomically and with bounded size."""

import contextlib
import errno
import lzma
import pathlib
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from tqdm import tqdm

from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

ENDINGS = ('.zip', '.tar.gz', '.tgz', '.tar')
_MAX_MEMBERS = 2_000_000
_MAX_RATIO = 50  # unpacked to packed size; audio has 1.1, tables have 5
_SMALLEST_LIMIT_BYTES = 1 << 20  # a small archive may well be all zeros
_CHUNK_BYTES = 1 << 20
_DAMAGES = (
  EOFError,
  NotImplementedError,  # a compression method that Python lacks
  RuntimeError,  # encrypted
  UnicodeError,
  ValueError,
  lzma.LZMAError,
  tarfile.TarError,
  zipfile.BadZipFile,
  zlib.error,
)

# Name, size stated in its header, whether it is a folder, and how to open it.
_Member = tuple[str, int, bool, Callable[[], IO[bytes]]]


def unpacked(path: pathlib.Path) -> pathlib.Path:
  """Returns `path` if it is a folder, or the folder of an unpacked archive.

  An archive is unpacked once, to `<name>.unpacked` beside it.

  Args:
    path: a folder, or a zip or tar archive.

  Raises:
    DataError: it is neither, or the archive is damaged.
  """
  if path.is_dir():
    return path
  if not path.is_file() or not path.name.endswith(ENDINGS):
    raise DataError(
      f'{path}: neither a folder nor an archive ({", ".join(ENDINGS)})'
    )
  folder = path.with_name(f'{path.name}.unpacked')
  if not folder.is_dir():
    unpack(path, folder)
  return folder


def unpack(
  archive: pathlib.Path, folder: pathlib.Path, lift: bool = False
) -> None:
  """Unpacks an archive to a folder, which appears atomically.

  Args:
    archive: a zip (including zip64) or tar file, compressed or not.
    folder: the folder to create; it must not exist.
    lift: if the archive has a single top-level folder, whether `folder` gets
      the content of that instead of containing it.

  Raises:
    DataError: the archive is damaged, unpacks to too many bytes, or has a
      member that would be outside the folder, is a link or a device, or occurs
      twice; or the disk is full. What was unpacked is deleted.
  """
  partial = folder.with_name(f'{folder.name}.partial')
  try:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _unpack_into(archive, partial)
    inside = list(partial.iterdir())
    is_wrapped = lift and len(inside) == 1 and inside[0].is_dir()
    (inside[0] if is_wrapped else partial).replace(folder)
  except DataError:
    raise
  except OSError as error:
    if error.errno == errno.ENOSPC:
      raise DataError(
        f'{folder}: the disk is full; free some space and run this again'
      ) from error
    raise DataError(f'{archive}: cannot be unpacked: {error}') from error
  except _DAMAGES as error:
    raise DataError(f'{archive}: damaged: {error}') from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _unpack_into(archive: pathlib.Path, folder: pathlib.Path) -> None:
  packed = archive.stat().st_size
  limit = max(_MAX_RATIO * packed, _SMALLEST_LIMIT_BYTES)
  written = 0
  names: set[str] = set()
  members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
  bar = tqdm(
    desc=f'unpack {archive.name}', unit='B', unit_scale=True, disable=None
  )
  with members(archive) as found, bar:
    for name, size, is_folder, open_member in found:
      path = folder / _safe_name(archive, name)
      if is_folder:
        path.mkdir(parents=True, exist_ok=True)
        continue
      if name in names or len(names) >= _MAX_MEMBERS:
        raise _rejected(archive, name, 'a duplicate, or too many files')
      names.add(name)
      # Check the size in the header before a single byte is written.
      if written + size > limit:
        raise DataError(
          f'{archive}: not unpacked, as it has over {limit:,} bytes, '
          f'{_MAX_RATIO} times its size'
        )
      path.parent.mkdir(parents=True, exist_ok=True)
      with open_member() as source, path.open('xb') as target:
        while chunk := source.read(_CHUNK_BYTES):
          written += len(chunk)
          if written > limit:
            raise _rejected(archive, name, 'more bytes than stated')
          target.write(chunk)
          bar.update(len(chunk))


def _rejected(archive: pathlib.Path, name: str, reason: str) -> DataError:
  """Returns the error for a member, whose name may contain anything."""
  return DataError(f'{archive}: {printable(name)}: {reason}')


def _safe_name(archive: pathlib.Path, name: str) -> str:
  """Returns a member's name; raises if it could be outside the folder."""
  parts = pathlib.PurePosixPath(name).parts
  if (
    (not parts and name.rstrip('/') != '.')  # tar lists its root as `./`
    or name.startswith('/')
    or '..' in parts
    or '\\' in name
    or any(':' in part for part in parts[:1])
    or not name.isprintable()
  ):
    raise _rejected(archive, name, 'not a valid name inside a folder')
  return name


@contextlib.contextmanager
def _zip_members(archive: pathlib.Path) -> Iterator[Iterator[_Member]]:
  def members(file: zipfile.ZipFile) -> Iterator[_Member]:
    """Yields files and folders; raises for anything else."""
    for info in file.infolist():
      mode = info.external_attr >> 16  # Unix mode; 0 if there is none
      if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _rejected(archive, info.filename, 'a link or a device')
      yield (
        info.filename,
        info.file_size,
        info.is_dir(),
        lambda info=info: file.open(info),
      )

  with zipfile.ZipFile(archive) as file:
    yield members(file)


@contextlib.contextmanager
def _tar_members(archive: pathlib.Path) -> Iterator[Iterator[_Member]]:
  def opened(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    found = file.extractfile(info)
    assert found is not None  # it is a file
    return found

  def members(file: tarfile.TarFile) -> Iterator[_Member]:
    """Yields files and folders; raises for anything else."""
    for info in file:
      if not (info.isreg() or info.isdir()):
        raise _rejected(archive, info.name, 'a link or a device')
      yield (
        info.name,
        info.size,
        info.isdir(),
        lambda info=info: opened(file, info),
      )

  with tarfile.open(archive, 'r|*') as file:  # a stream: nothing is read twice
    yield members(file)
