"""Makes sounds that are not music, from which a model learns to say so.

Noise, tones, hum, clicks and near-silence are computed. Speech is synthesised
by `espeak-ng`, which must be installed. It is deterministic, except that
another version of `espeak-ng` may have other voices.

Example:
  python -m mgc_jax.experiments.shipped_models.not_music runs/not_music
"""

import argparse
import csv
import pathlib
import subprocess
from collections.abc import Callable

import numpy as np
import soundfile
from tqdm import tqdm

from mgc_jax.inference.pretrained import NOT_MUSIC
from mgc_jax.system import atomic_file, command_line
from mgc_jax.system.arguments import Command, Parser
from mgc_jax.system.errors import DataError

_RATE_HZ = 16000
_DURATION_S = 15
_PER_KIND = 14
_PEAK_DB = (-64.0, -1.0)  # of full scale
_SILENCE_DB = (-75.0, -60.0)
_VOICES = (
  'en en+f2 en+m3 en-us en+whisper de de+f3 fr fr+m5 es es+f4 it pl nl sv pt '
  'ru tr'
).split()
_SENTENCES = (
  'The committee met on Tuesday and postponed the decision about the bridge '
  'until more information was available.',
  'There was a king who had three daughters, and the youngest of them was fond '
  'of long walks in the forest.',
  'To change the battery, remove the four screws at the back of the case and '
  'lift the cover carefully.',
  'In the news today, prices have risen again, and farmers say that the dry '
  'spring is to blame for the poor harvest.',
  'Good evening and welcome to the lecture. We start with a short summary of '
  'what we learned last week about the sea.',
)

_Random = np.random.Generator
_TIME_S = np.arange(_RATE_HZ * _DURATION_S) / _RATE_HZ


def _frequency(
  rng: _Random, low_hz: float = 40, high_hz: float = 6000
) -> float:
  """Draws a frequency in Hz, uniformly on a logarithmic scale."""
  return float(np.exp(rng.uniform(np.log(low_hz), np.log(high_hz))))


def _noise(rng: _Random, slope: float | None = None) -> np.ndarray:
  """Returns noise whose amplitude is a power of the frequency."""
  slope = rng.uniform(-1.1, 0.1) if slope is None else slope
  spectrum = np.fft.rfft(rng.normal(size=len(_TIME_S)))
  number = np.maximum(np.arange(len(spectrum)), 20.0)
  return np.fft.irfft(spectrum * number**slope)


def _band_noise(rng: _Random) -> np.ndarray:
  spectrum = np.fft.rfft(rng.normal(size=len(_TIME_S)))
  hz = np.linspace(0, _RATE_HZ / 2, len(spectrum))
  low_hz = _frequency(rng, 50, 4000)
  high_hz = low_hz * rng.uniform(1.2, 6)
  return np.fft.irfft(np.where((hz >= low_hz) & (hz <= high_hz), spectrum, 0))


def _pulsed_noise(rng: _Random) -> np.ndarray:
  wave = np.sin(2 * np.pi * rng.uniform(0.3, 8) * _TIME_S)
  return _noise(rng) * (wave > rng.uniform(-0.5, 0.8))


def _tone(rng: _Random) -> np.ndarray:
  return np.sin(2 * np.pi * _frequency(rng) * _TIME_S)


def _tones(rng: _Random) -> np.ndarray:
  number = rng.integers(2, 5)
  return sum(
    (rng.uniform(0.2, 1) * _tone(rng) for _ in range(number)),
    start=np.zeros_like(_TIME_S),
  )


def _sweep(rng: _Random) -> np.ndarray:
  start_hz, end_hz = _frequency(rng), _frequency(rng)
  change = (end_hz - start_hz) / (2 * _DURATION_S)
  return np.sin(2 * np.pi * (start_hz + change * _TIME_S) * _TIME_S)


def _square(rng: _Random) -> np.ndarray:
  return np.sign(_tone(rng))


def _clicks(rng: _Random) -> np.ndarray:
  is_click = rng.uniform(size=len(_TIME_S)) < 10 ** rng.uniform(-5, -3)
  is_click[0] |= not is_click.any()
  return is_click * rng.normal(size=len(_TIME_S))


def _hum(rng: _Random) -> np.ndarray:
  mains = sum(
    (
      rng.uniform() / k * np.sin(2 * np.pi * 50 * k * _TIME_S)
      for k in range(1, 8)
    ),
    start=np.zeros_like(_TIME_S),
  )
  return mains + 10 ** rng.uniform(-3, -1) * rng.normal(size=len(_TIME_S))


_KINDS: dict[str, Callable[[_Random], np.ndarray]] = {
  'noise': _noise,
  'band noise': _band_noise,
  'pulsed noise': _pulsed_noise,
  'tone': _tone,
  'tones': _tones,
  'sweep': _sweep,
  'square wave': _square,
  'clicks': _clicks,
  'hum': _hum,
  'near-silence': lambda rng: rng.normal(size=len(_TIME_S)),
}


def _scaled(samples: np.ndarray, rng: _Random, kind: str) -> np.ndarray:
  """Returns f32[n] with a random peak level."""
  low_db, high_db = _SILENCE_DB if kind == 'near-silence' else _PEAK_DB
  peak = 10 ** (rng.uniform(low_db, high_db) / 20)
  return (samples / np.abs(samples).max() * peak).astype(np.float32)


def _speech(path: pathlib.Path, voice: str, rng: _Random) -> None:
  """Writes a few sentences, in half of the files with noise.

  Raises:
    DataError: `espeak-ng` is missing or lacks the voice.
  """
  order = rng.permutation(len(_SENTENCES))[:3]
  words = ['-s', str(rng.integers(120, 190)), '-p', str(rng.integers(20, 80))]
  command = ['espeak-ng', '-v', voice, *words, '-w', str(path)]
  try:
    subprocess.run(
      [*command, ' '.join(_SENTENCES[i] for i in order)], check=True
    )
    samples, rate_hz = soundfile.read(path)
  except (
    OSError,
    subprocess.CalledProcessError,
    soundfile.LibsndfileError,
  ) as error:
    raise DataError(f'espeak-ng: cannot speak; install it ({error})') from error
  if rng.integers(2):
    level = 10 ** rng.uniform(-3.5, -2)
    samples = samples + level * rng.normal(size=len(samples))
  soundfile.write(path, _scaled(samples, rng, 'speech'), rate_hz, 'FLOAT')


def write(folder: pathlib.Path) -> int:
  """Writes the sounds as WAV files, and their manifest.

  In the manifest the kind of a sound is its artist, so that in a
  cross-validation over artists a model is tested on kinds that it did not see.

  Args:
    folder: created if it is missing.

  Returns:
    The number of files.

  Raises:
    DataError: `espeak-ng` is missing, or the folder cannot be written to.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise DataError(f'{folder}: {error.strerror}') from error
  names = [(kind, i) for kind in _KINDS for i in range(_PER_KIND)]
  names += [('speech', i) for i in range(2 * len(_VOICES))]
  rows = []
  for number, (kind, i) in enumerate(tqdm(names)):
    rng = np.random.default_rng(number)
    path = folder / f'{kind.replace(" ", "-")}-{i:02}.wav'
    if kind == 'speech':
      _speech(path, _VOICES[i // 2], rng)
    else:
      samples = _scaled(_KINDS[kind](rng), rng, kind)
      soundfile.write(path, samples, _RATE_HZ, 'FLOAT')
    rows.append((path.name, f'not_music/{path.stem}', NOT_MUSIC, kind))
  with atomic_file.writing(folder / 'manifest.csv') as partial:
    with partial.open('w', newline='', encoding='utf-8') as file:
      writer = csv.writer(file)
      writer.writerow(('path', 'track_id', 'genre', 'artist'))
      writer.writerows(rows)
  return len(rows)


def _add_arguments(parser: Parser) -> None:
  parser.add_argument('folder', metavar='DIR', help='Folder to write to.')


def _run(args: argparse.Namespace) -> None:
  print(f'{write(pathlib.Path(args.folder))} files: {args.folder}/manifest.csv')


COMMAND = Command(__doc__, _add_arguments, _run)

if __name__ == '__main__':
  command_line.run(
    COMMAND, 'python -m mgc_jax.experiments.shipped_models.not_music'
  )
