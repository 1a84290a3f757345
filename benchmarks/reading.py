r"""Tests which audio files can be read, with which length, and how fast.

Creates a corpus with ffmpeg: every container and codec that it can write here,
intact, tagged, joined, written to a pipe, truncated and damaged. Each file is
decoded by ffmpeg, by libsndfile and by this package, and the table says how
many were read and how many lengths agree with ffmpeg's within 0.1 s. Needs
ffmpeg and lame.

  python -m benchmarks.reading
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import soundfile
from mutagen import apev2, id3
from tqdm import tqdm

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from mgc_jax.audio.decode import TOLERANCE_S, ExcerptReader
from mgc_jax.datasets.sources import synthetic
from mgc_jax.inference.classifier import MIN_DURATION_S
from mgc_jax.system.errors import DataError

_RATE_HZ = 44100
_FRACTION = 0.6  # what remains of a truncated file
_NOISE_BYTES = 4096

# Extension, which determines the container, and ffmpeg's options.
_FORMATS = (
  ('wav', '-c:a pcm_s16le'),
  ('wav', '-c:a pcm_s24le'),
  ('wav', '-c:a pcm_f32le'),
  ('wav', '-c:a pcm_u8'),
  ('wav', '-c:a pcm_alaw'),
  ('wav', '-c:a adpcm_ms'),
  ('wav', '-c:a adpcm_ima_wav'),
  ('wav', '-c:a libgsm_ms -ar 8000 -ac 1'),
  ('wav', '-rf64 always'),
  ('w64', ''),
  ('au', '-c:a pcm_s16be'),
  ('au', '-c:a pcm_mulaw'),
  ('aiff', ''),
  ('aiff', '-c:a pcm_s24be'),
  ('caf', ''),
  ('voc', ''),
  ('flac', ''),
  ('flac', '-ar 96000 -sample_fmt s32'),
  ('mp3', '-b:a 128k'),
  ('mp3', '-q:a 2'),
  ('mp3', '-b:a 128k -write_xing 0 -id3v2_version 0'),
  ('mp3', '-q:a 2 -write_xing 0'),
  ('mp3', '-b:a 32k -ar 16000 -ac 1'),
  ('mp2', '-b:a 192k'),
  ('ogg', '-c:a libvorbis'),
  ('oga', '-c:a flac'),
  ('ogg', '-c:a libspeex -ar 16000 -ac 1'),
  ('opus', '-c:a libopus'),
  ('m4a', '-c:a aac'),
  ('m4a', '-c:a aac -movflags +faststart'),
  ('m4a', '-c:a alac -movflags +faststart'),
  ('m4b', '-c:a aac -f mp4'),
  ('mp4', '-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 1000000'),
  ('mov', '-c:a pcm_s16le'),
  ('3gp', '-c:a aac'),
  ('aac', '-c:a aac'),
  ('ac3', ''),
  ('eac3', '-c:a eac3'),
  ('dts', '-c:a dca -strict -2'),
  ('wma', '-c:a wmav2'),
  ('wv', '-c:a wavpack'),
  ('tta', '-c:a tta'),
  ('mka', '-c:a libvorbis'),
  ('mka', '-c:a flac'),
  ('webm', '-c:a libopus'),
  ('mkv', '-c:a aac'),
  ('ra', '-c:a real_144 -ar 8000 -ac 1 -f rm'),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The result of decoding a file.

  Attributes:
    path: the file.
    kind: what was done to it.
    seconds: how much each of ffmpeg, libsndfile and ours decoded; 0: nothing.
    warning: the warning or error of our decoder.
  """

  path: pathlib.Path
  kind: str
  seconds: dict[str, float]
  warning: str


def _encode(wav: pathlib.Path, to: pathlib.Path, options: str) -> bool:
  command = ['ffmpeg', '-v', 'error', '-y', '-nostdin', '-i', wav]
  done = subprocess.run(
    [*command, *options.split(), to], capture_output=True, check=False
  )
  return done.returncode == 0 and to.stat().st_size > 0


def _truncate(data: bytes, path: pathlib.Path) -> bytes:
  return data[: int(_FRACTION * len(data))]


def _damage(data: bytes, path: pathlib.Path) -> bytes:
  middle = len(data) // 2
  noise = random.Random(str(path.name)).randbytes(_NOISE_BYTES)
  return data[:middle] + noise + data[middle + len(noise) :]


def _cut_short(data: bytes, path: pathlib.Path) -> bytes:
  return data[:-100]


# Changes to the bytes of an intact file.
_CHANGES: dict[str, Callable[[bytes, pathlib.Path], bytes]] = {
  'truncated': _truncate,
  'noise in the middle': _damage,
  'last 100 bytes missing': _cut_short,
  'zeros behind it': lambda data, path: data + bytes(8192),
  'joined with itself': lambda data, path: data + data,
}


def _tags() -> bytes:
  """Returns ID3v2 tags with a cover of 300 kB."""
  with tempfile.NamedTemporaryFile() as file:
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=3, text='Title'))
    picture = b'\xff\xd8' + bytes(300_000)
    tags.add(id3.APIC(encoding=0, mime='image/jpeg', type=3, data=picture))
    tags.save(file.name)
    return pathlib.Path(file.name).read_bytes()


def _variants(path: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
  """Writes variants of a file beside it; returns their kinds and paths."""
  data, found = path.read_bytes(), [('whole', path)]

  def write(kind: str, content: bytes, suffix: str = path.suffix) -> None:
    name = f'{path.stem}-{kind.replace(" ", "_")}{suffix}'
    path.with_name(name).write_bytes(content)
    found.append((kind, path.with_name(name)))

  for kind, change in _CHANGES.items():
    write(kind, change(data, path))
  write('wrong extension', data, '.wav' if path.suffix == '.mp3' else '.mp3')
  if path.suffix in ('.mp3', '.mp2', '.aac'):
    write('ID3v2 with a cover', _tags() + data)
    write('ID3v1', data + b'TAG' + b'x'.ljust(125))
    write('200 kB of zeros in front', bytes(200_000) + data)
    write('APEv2', data)
    tags = apev2.APEv2()
    tags['Comment'] = 'y' * 30_000
    tags.save(found[-1][1])
  return found


def _piped(wav: pathlib.Path, path: pathlib.Path, options: str) -> bool:
  """Encodes to a pipe, where the encoder cannot go back to write a length."""
  muxers = {
    '.wav': 'wav',
    '.w64': 'w64',
    '.au': 'au',
    '.aiff': 'aiff',
    '.caf': 'caf',
    '.voc': 'voc',
    '.flac': 'flac',
    '.mp3': 'mp3',
    '.mp2': 'mp2',
    '.ogg': 'ogg',
    '.oga': 'ogg',
    '.opus': 'opus',
    '.aac': 'adts',
    '.wma': 'asf',
    '.wv': 'wv',
    '.mka': 'matroska',
    '.webm': 'webm',
    '.mkv': 'matroska',
  }
  if path.suffix not in muxers:
    return False
  command = ['ffmpeg', '-v', 'error', '-nostdin', '-i', wav, *options.split()]
  command += ['-f', muxers[path.suffix], 'pipe:1']
  done = subprocess.run(command, capture_output=True, check=False)
  path.write_bytes(done.stdout)
  return bool(done.stdout)


def make_corpus(
  folder: pathlib.Path, seconds: float, num_formats: int | None = None
) -> list[tuple[str, pathlib.Path]]:
  """Creates the files.

  Args:
    folder: an empty folder.
    seconds: the length of each intact file.
    num_formats: the number of formats; None for all.

  Returns:
    What was done to each file, and its path.
  """
  track = f'{synthetic.SCHEME}rock/000/000?duration_s={seconds:g}'
  mono = synthetic.render(track, _RATE_HZ)
  stereo = np.stack([mono, 0.8 * mono], axis=1)
  wav = folder / 'source.wav'
  soundfile.write(wav, stereo, _RATE_HZ)

  def make(number: int) -> list[tuple[str, pathlib.Path]]:
    """Creates the files of one format; none if ffmpeg lacks the encoder."""
    extension, options = _FORMATS[number]
    path = folder / f'{number:02}.{extension}'
    if not _encode(wav, path, options):
      return []
    found = _variants(path)
    piped = path.with_name(f'{path.stem}-piped{path.suffix}')
    if _piped(wav, piped, options):
      found.append(('written to a pipe', piped))
    return found

  numbers = range(len(_FORMATS))[:num_formats]
  with concurrent.futures.ThreadPoolExecutor() as pool:
    return [item for items in pool.map(make, numbers) for item in items]


def _by_ffmpeg(path: pathlib.Path) -> float:
  command = ['ffmpeg', '-v', 'quiet', '-nostdin', '-i', path, '-map', '0:a:0']
  command += ['-ac', '1', '-ar', '8000', '-f', 's16le', 'pipe:1']
  done = subprocess.run(command, capture_output=True, check=False)
  return len(done.stdout) / 2 / 8000


def _by_libsndfile(path: pathlib.Path) -> float:
  try:
    with soundfile.SoundFile(path) as file:
      num_frames = 0
      while len(block := file.read(1 << 16, dtype='float32')):
        num_frames += len(block)
      return num_frames / file.samplerate
  except (soundfile.LibsndfileError, TypeError):
    return 0.0


def _by_us(path: pathlib.Path) -> tuple[float, str]:
  try:
    reader = ExcerptReader(path, 22050, 30.0, 'all')
    found = sum(len(samples) for _, samples in reader) / 22050
    is_long_enough = found >= MIN_DURATION_S - TOLERANCE_S
    return found if is_long_enough else 0.0, reader.outcome.warning
  except DataError as error:
    return 0.0, str(error)


def read(kind: str, path: pathlib.Path) -> Outcome:
  """Decodes a file with ffmpeg, libsndfile and this package.

  Args:
    kind: what was done to the file.
    path: the file to decode.
  """
  ours, warning = _by_us(path)
  seconds = {
    'ffmpeg': _by_ffmpeg(path),
    'libsndfile': _by_libsndfile(path),
    'ours': ours,
  }
  return Outcome(path, kind, seconds, warning)


def _agrees(outcome: Outcome, name: str) -> bool:
  seconds = outcome.seconds
  return abs(seconds[name] - seconds['ffmpeg']) <= TOLERANCE_S


def summary(outcomes: list[Outcome]) -> list[str]:
  """Returns the lines of the Markdown table.

  Args:
    outcomes: the results for all files; those from which ffmpeg decodes less
      than a second do not count.
  """
  playing = [x for x in outcomes if x.seconds['ffmpeg'] >= MIN_DURATION_S]
  by_kind: dict[str, list[Outcome]] = collections.defaultdict(list)
  for outcome in playing:
    by_kind[outcome.kind].append(outcome)
  lines = [
    '| | files | read by libsndfile | by ours | lengths that agree, libsndfile '
    '| ours | with a warning |',
    '|---|---|---|---|---|---|---|',
  ]
  for kind, rows in [*by_kind.items(), ('all', playing)]:
    counts = [
      len(rows),
      *(sum(x.seconds[n] > 0 for x in rows) for n in ('libsndfile', 'ours')),
      *(sum(_agrees(x, n) for x in rows) for n in ('libsndfile', 'ours')),
      sum(bool(x.warning) for x in rows),
    ]
    lines.append(f'| {kind} | {" | ".join(map(str, counts))} |')
  return lines


def _costs(
  corpus: list[tuple[str, pathlib.Path]], seconds: float, rounds: int
) -> dict[str, list[float]]:
  """Returns the seconds that each decoder takes per hour of intact audio."""
  whole = [path for kind, path in corpus if kind == 'whole']
  native = [path for path in whole if _by_libsndfile(path) > 0]
  others = [path for path in whole if path not in native]

  def cost(decode: Callable, paths: list[pathlib.Path]) -> Callable[[], float]:
    def measured() -> float:
      start_s = time.perf_counter()
      for path in paths:
        decode(path)
      elapsed_s = time.perf_counter() - start_s
      return elapsed_s / (max(1, len(paths)) * seconds) * 3600

    return measured

  return in_turn(
    {
      'libsndfile alone': cost(_by_libsndfile, native),
      'ours, the same files': cost(_by_us, native),
      'ffmpeg alone': cost(_by_ffmpeg, others),
      'ours, these files': cost(_by_us, others),
    },
    rounds,
  )


def main() -> None:
  """Creates the corpus, reads it, and prints the table."""
  flags = parser(__doc__)
  flags.add_argument('--seconds', type=float, default=12.0)
  flags.add_argument('--rounds', type=int, default=5)
  flags.add_argument(
    '--keep', type=pathlib.Path, help='folder in which to keep the files'
  )
  args = flags.parse_args()
  if not shutil.which('ffmpeg'):
    sys.exit('ffmpeg is not installed')
  with tempfile.TemporaryDirectory() as scratch:
    folder = args.keep or pathlib.Path(scratch)
    folder.mkdir(parents=True, exist_ok=True)
    _run(args, folder)


def _run(args: argparse.Namespace, folder: pathlib.Path) -> None:
  corpus = make_corpus(folder, args.seconds, 3 if args.toy else None)
  with concurrent.futures.ThreadPoolExecutor() as pool:
    reading = pool.map(lambda item: read(*item), corpus)
    outcomes = list(tqdm(reading, 'read', len(corpus), disable=None))
  print('\n'.join(summary(outcomes)))
  for outcome in outcomes:
    plays = outcome.seconds['ffmpeg'] >= MIN_DURATION_S
    if plays and not (outcome.seconds['ours'] and _agrees(outcome, 'ours')):
      lengths = ', '.join(f'{k} {v:.2f} s' for k, v in outcome.seconds.items())
      print(
        f'{outcome.path.name} ({outcome.kind}): {lengths}; {outcome.warning}'
      )
  costs = _costs(corpus, args.seconds, 1 if args.toy else args.rounds)
  for name, taken in costs.items():
    print(f'{name}: {spread(taken)["median"]:.1f} s per hour of audio')
  names = list(costs)
  for ours, alone in ((names[1], names[0]), (names[3], names[2])):
    print(f'{ours} / {alone}: {format_ratio(ratio(costs[ours], costs[alone]))}')
  rows = [{**dataclasses.asdict(x), 'path': x.path.name} for x in outcomes]
  write_results({'files': rows, 'costs': costs}, args.json)


if __name__ == '__main__':
  main()
