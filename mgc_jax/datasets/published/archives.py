"""Unpacks archives that may be hostile: whole or not at all, and bounded."""

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

ENDINGS = ('.zip', '.tar.gz', '.tgz', '.tar')
_MAX_MEMBERS = 2_000_000
_MAX_RATIO = 50  # of bytes unpacked to packed; audio is 1.1, tables are 5
_SMALLEST_LIMIT_BYTES = 1 << 20  # a little archive may well be all zeros
_CHUNK_BYTES = 1 << 20
_DAMAGES = (
  EOFError,
  NotImplementedError,  # a compression that Python does not have
  RuntimeError,  # encrypted
  UnicodeError,
  ValueError,
  lzma.LZMAError,
  tarfile.TarError,
  zipfile.BadZipFile,
  zlib.error,
)

# Name, size that its header claims, whether a folder, and how to open it.
_Member = tuple[str, int, bool, Callable[[], IO[bytes]]]


def unpacked(path: pathlib.Path) -> pathlib.Path:
  """Returns a folder: `path` itself, or what an archive was unpacked to.

  That is a folder beside the archive, `<name>.unpacked`, made once.

  Args:
    path: of a folder, or of a zip or tar archive.

  Raises:
    DataError: there is neither, or the archive is damaged.
  """
  if path.is_dir():
    return path
  if not path.is_file() or not path.name.endswith(ENDINGS):
    raise DataError(f'{path}: no folder, and no archive ({", ".join(ENDINGS)})')
  folder = path.with_name(f'{path.name}.unpacked')
  if not folder.is_dir():
    unpack(path, folder)
  return folder


def unpack(
  archive: pathlib.Path, folder: pathlib.Path, lift: bool = False
) -> None:
  """Unpacks files and folders; the folder appears whole, or not at all.

  Args:
    archive: zip (also zip64) or tar, compressed or not.
    folder: to be made; it must not be there.
    lift: whether, where all lies in one folder of the archive, `folder` is it.

  Raises:
    DataError: the archive is damaged, a member would lie outside the folder, is
      a link or a device, or is there twice, it unpacks to far more than it may,
      or the disk is full. What was unpacked is deleted.
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
        f'{folder}: the disk is full; make room, and run this again'
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
        raise DataError(f'{archive}: {name!r}: there twice, or one too many')
      names.add(name)
      # What the header claims, before a byte of it is written.
      if written + size > limit:
        raise DataError(
          f'{archive}: unpacks to over {limit:,} bytes, {_MAX_RATIO} times its '
          'size; refused'
        )
      path.parent.mkdir(parents=True, exist_ok=True)
      with open_member() as source, path.open('xb') as target:
        while chunk := source.read(_CHUNK_BYTES):
          written += len(chunk)
          if written > limit:
            raise DataError(f'{archive}: {name!r}: more bytes than claimed')
          target.write(chunk)
          bar.update(len(chunk))


def _safe_name(archive: pathlib.Path, name: str) -> str:
  """Returns a member's name; refuses one that would lie elsewhere."""
  parts = pathlib.PurePosixPath(name).parts
  if (
    (not parts and name.rstrip('/') != '.')  # tar has its root, too
    or name.startswith('/')
    or '..' in parts
    or '\\' in name
    or any(':' in part for part in parts[:1])
    or not name.isprintable()
  ):
    raise DataError(f'{archive}: {name!r}: no name for a file in a folder')
  return name


@contextlib.contextmanager
def _zip_members(archive: pathlib.Path) -> Iterator[Iterator[_Member]]:
  def members(file: zipfile.ZipFile) -> Iterator[_Member]:
    """Yields files and folders; refuses what is neither."""
    for info in file.infolist():
      mode = info.external_attr >> 16  # of Unix; 0 where there is none
      if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f'{archive}: {info.filename!r}: a link or a device')
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
    """Yields files and folders; refuses what is neither."""
    for info in file:
      if not (info.isreg() or info.isdir()):
        raise DataError(f'{archive}: {info.name!r}: a link or a device')
      yield (
        info.name,
        info.size,
        info.isdir(),
        lambda info=info: opened(file, info),
      )

  with tarfile.open(archive, 'r|*') as file:  # one way: nothing is read twice
    yield members(file)
