"""Broken and hostile audio files: every audio reader is tested with each."""

import os

import numpy as np
import soundfile

from tests.conftest import tone, write_tone


def _samples(wave, rate_hz=8000, **kwargs):
  return lambda path: soundfile.write(
    path, wave, rate_hz, format='WAV', **kwargs
  )


def _with(value):
  wave = tone(2.0)
  wave[100] = value
  return _samples(wave, subtype='FLOAT')


def _silent_middle(path):
  wave = np.zeros(8000 * 100)
  wave[:8000] = wave[-8000:] = 0.5
  soundfile.write(path, wave, 8000)


def _cut(ending, fraction=0.6):
  def write(path):
    whole = write_tone(path.with_name(f'whole.{ending}'), seconds=4.0)
    data = whole.read_bytes()
    whole.unlink()
    path.write_bytes(data[: int(len(data) * fraction)])

  return write


def _patched(ending, at, data):
  def write(path):
    whole = write_tone(path.with_name(f'whole.{ending}'), seconds=2.0)
    content = bytearray(whole.read_bytes())
    whole.unlink()
    content[at : at + len(data)] = data
    path.write_bytes(content)

  return write


def _flac_without_length(path):
  soundfile.write(path, tone(2.0), 8000, format='FLAC')
  data = bytearray(path.read_bytes())
  # STREAMINFO: the low 36 bits before the digest are the number of samples.
  data[21] &= 0xF0
  data[22:26] = bytes(4)
  path.write_bytes(data)


def _two_hours(path):
  with soundfile.SoundFile(path, 'w', 8000, 1, 'PCM_U8', format='WAV') as file:
    block = tone(60.0)
    for _ in range(120):
      file.write(block)


def _loop(path):
  path.with_suffix('.loop').symlink_to(path)
  path.symlink_to(path.with_suffix('.loop'))


# Name of the case, what is written, why it is rejected; None: it is used.
AUDIO = [
  ('silent', _samples(np.zeros(16000)), 'silent: no sample above -80 dB'),
  ('silent in the middle', _silent_middle, 'silent'),
  ('NaN', _with(np.nan), None),
  ('infinite', _with(np.inf), None),
  ('enormous', _samples(tone(2.0) * 1e25, subtype='FLOAT'), None),
  ('0 bytes', lambda p: p.write_bytes(b''), 'empty: 0 bytes'),
  ('1 byte', lambda p: p.write_bytes(b'R'), 'not audio'),
  ('0.1 s', _samples(tone(0.1)), 'too short: 0.10 s'),
  ('2 hours', _two_hours, None),
  ('8 kHz', _samples(tone(2.0)), None),
  ('192 kHz', _samples(tone(2.0, 192_000), 192_000), None),
  ('6 channels', _samples(tone(2.0, channels=6)), None),
  ('1 Hz', _patched('wav', 24, (1).to_bytes(4, 'little')), 'rate of 1 Hz'),
  ('wav named mp3', _samples(tone(2.0)), None),
  ('text', lambda p: p.write_text('no music\n' * 99), 'not audio'),
  ('random bytes', lambda p: p.write_bytes(os.urandom(9999)), 'not audio'),
  ('directory', lambda p: p.mkdir(), 'not a file'),
  ('pipe', os.mkfifo, 'not a file'),
  ('nothing', lambda p: None, 'no such file'),
  ('dangling link', lambda p: p.symlink_to('gone'), 'no such file'),
  ('loop of links', _loop, 'no such file|cannot be opened|loop'),
  ('endless device', lambda p: p.symlink_to('/dev/zero'), 'not a file'),
  ('FLAC without length', _flac_without_length, None),
  ('only a header', _cut('wav', 0.001), 'damaged|not audio|empty|too short'),
]
# The first 60 % of a file of four seconds: a prediction is made from them, with
# a warning; preparation skips the file.
TRUNCATED = [
  (f'truncated {ending}', _cut(ending))
  for ending in ('wav', 'au', 'flac', 'ogg', 'mp3', 'opus')
]
