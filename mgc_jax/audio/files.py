"""Finds the audio files in folders; the only module that walks folders."""

import collections
import os
import sys
from collections.abc import Callable, Iterable, Iterator

from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

# Everything that libsndfile or ffmpeg reads, including video (mp4, webm).
EXTENSIONS = tuple(
  f'.{name}'
  for name in (
    '3g2 3gp aac ac3 adts aif aifc aiff amr ape asf au avr bwf caf dff dsf dts '
    'eac3 flac gsm ircam m4a m4b m4r mka mkv mov mp+ mp1 mp2 mp3 mp4 mpa mpc '
    'mpga nist oga ogg ogx oma opus paf pvf ra rf64 rm sd2 sds sf shn snd spx '
    'svx tak tta voc w64 wav wave weba webm wma wv xwma'
  ).split()
)
# Where desktops and NAS systems keep deleted files, versions and thumbnails.
_TRASH_FOLDERS = frozenset(
  (
    '#recycle',
    '#snapshot',
    '$recycle.bin',
    '@eadir',
    '@recently-snapshot',
    '@recycle',
    '__macosx',
    'lost+found',
    'network trash folder',
    'recycler',
    'system volume information',
    'temporary items',
  )
)
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'


class Skipped(collections.Counter):
  """How many files or folders a walk skipped, by reason."""

  def line(self) -> str:
    """Returns the reasons on one line; empty if nothing was skipped."""
    parts = [f'{number} {reason}' for reason, number in sorted(self.items())]
    return f'skipped: {", ".join(parts)}' if parts else ''


def audio_files(
  folder: str,
  on_error: Callable[[OSError], None] | None = None,
  skipped: Skipped | None = None,
) -> Iterator[str]:
  """Yields the audio files in a folder and its sub-folders.

  Files are recognised by their extension. Names that begin with a dot and
  folders of deleted or generated files (`@eaDir`, `#recycle`) are skipped. A
  symbolic link is followed unless its target is walked anyway, so every file
  is yielded once and a cycle of links ends.

  Args:
    folder: where to start.
    on_error: called for each folder that cannot be read; without it such
      folders are skipped silently.
    skipped: counts what is skipped.

  Yields:
    Paths that begin with `folder`, each folder's files in order; the targets
    of symbolic links come last.
  """
  skipped = Skipped() if skipped is None else skipped
  starts, file_links = collections.deque([folder]), []
  root = os.path.realpath(folder)
  followed: set[str] = set()  # real paths of the starts so far
  while starts:
    start = starts.popleft()
    real = os.path.realpath(start)
    reason = _reason_to_skip(start, real, root, followed) if followed else ''
    if reason:
      skipped[reason] += 1
      continue
    followed.add(real)
    for place, folders, names in os.walk(start, onerror=on_error):
      here = os.path.normpath(os.path.join(real, os.path.relpath(place, start)))
      starts.extend(_remove_links(place, folders, skipped))
      folders[:] = [x for x in folders if os.path.join(here, x) not in followed]
      for path in _audio_by_name(place, names, skipped):
        if os.path.islink(path):
          file_links.append(path)
        else:
          yield path
  yield from _other_files(file_links, followed, skipped)


def _reason_to_skip(link: str, real: str, root: str, followed: set[str]) -> str:
  """Returns why a link to a folder is not followed; '' if it is.

  Args:
    link: the path of the link.
    real: the real path of its target.
    root: the real path of the folder where the search started.
    followed: the real paths of the folders where walks start.
  """
  if _is_walked(real, followed):
    return 'links to folders that are read anyway'
  own_folder = os.path.realpath(os.path.dirname(link))
  if is_inside(own_folder, real) or is_inside(root, real):
    return 'links to a parent folder'
  return ''


def _is_walked(path: str, followed: set[str]) -> bool:
  """Returns whether one of the walks reaches a path.

  Args:
    path: a real path, without links.
    followed: the real paths of the folders where walks start.
  """
  while path not in followed:
    path, name = os.path.split(path)
    if not name or _is_skipped(name):
      return False
  return True


def is_inside(path: str, folder: str) -> bool:
  """Returns whether a path is a folder or is inside it.

  Args:
    path: absolute.
    folder: absolute.
  """
  return os.path.commonpath([path, folder]) == folder


def _is_skipped(name: str) -> bool:
  """Returns whether folders of this name are skipped."""
  return name.startswith('.') or name.casefold() in _TRASH_FOLDERS


def is_audio(name: str) -> bool:
  """Returns whether a file has the extension of an audio file."""
  return name.lower().endswith(EXTENSIONS)


def _remove_links(
  place: str, folders: list[str], skipped: Skipped
) -> list[str]:
  """Removes and returns the links; sorts the folders that are walked now."""
  walked, links = [], []
  for name in sorted(folders):
    if _is_skipped(name):
      skipped['hidden or trash folders'] += 1
    elif os.path.islink(os.path.join(place, name)):
      links.append(os.path.join(place, name))
    else:
      walked.append(name)
  folders[:] = walked
  return links


def _audio_by_name(
  place: str, names: list[str], skipped: Skipped
) -> Iterator[str]:
  for name in sorted(names):
    if name.startswith('.'):
      skipped['hidden files'] += 1
    elif not is_audio(name):
      skipped['files that are not audio by name'] += 1
    else:
      yield os.path.join(place, name)


def _other_files(
  links: list[str], followed: set[str], skipped: Skipped
) -> Iterator[str]:
  """Yields the links to files that no walk reaches, each file once."""
  seen = set()
  for link in links:
    target = os.path.realpath(link)
    # git-annex links to files in a hidden folder, or named by their digest.
    is_read = is_audio(target) and _is_walked(target, followed)
    if os.path.exists(link) and (target in seen or is_read):
      skipped['links to files that are read anyway'] += 1
      continue
    seen.add(target)
    yield link


def find_files(words: list[str]) -> list[str]:
  """Returns the files that the arguments of a command stand for.

  Reports on standard error, one line per folder, what was skipped.

  Args:
    words: files, returned as they are; folders, searched recursively; or `-`
      for a list on standard input, one path per line.

  Raises:
    DataError: a folder contains no audio.
  """
  found: list[str] = []
  unread: list[str] = []  # folders; the code that opens them reports the reason

  def cannot_be_read(error: OSError) -> None:
    unread.append(error.filename)

  for word in words:
    if word == '-':
      found += listed_files(sys.stdin.buffer)
    elif os.path.isdir(word):
      skipped = Skipped()
      inside = list(audio_files(word, cannot_be_read, skipped))
      if not inside and not unread:
        raise DataError(no_audio(word, skipped))
      if skipped:
        print(f'{printable(word)}: {skipped.line()}', file=sys.stderr)
      found += inside
    else:
      found.append(word)
  return found + unread


def no_audio(folder: str, skipped: Skipped) -> str:
  """Returns the message for a folder in which no audio file was found."""
  reasons = f' ({skipped.line()})' if skipped else ''
  return (
    f'{printable(folder)}: no audio files in it{reasons}; files are recognised '
    'by their extension, such as .mp3, .flac, .m4a, .ogg or .wav'
  )


def listed_files(lines: Iterable[bytes]) -> Iterator[str]:
  r"""Yields the paths in a list that has one on each line.

  Args:
    lines: the lines of a plain list or an M3U playlist. A byte-order mark,
      `\r\n`, empty lines and comments (`#EXTM3U`) are ignored; a line that
      begins with `#` is a path if a file of that name exists.
  """
  for number, line in enumerate(lines):
    if number == 0:
      line = line.removeprefix(_BYTE_ORDER_MARK)
    line = line.rstrip(b'\r\n')
    is_comment = line.startswith(b'#') and not os.path.lexists(line)
    if line.strip() and not is_comment:
      yield os.fsdecode(line)
