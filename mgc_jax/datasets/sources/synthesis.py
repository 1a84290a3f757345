"""Renders music in numpy: wavetable notes, drums from noise, and a mix."""

import dataclasses

import numpy as np

from mgc_jax.datasets.sources.styles import STEPS, Mix, Style, Timbre

_TABLE_SIZE = 2048
_LOOP_BARS = 8  # bars that are composed once and then repeated


def with_habits(style: Style, rng: np.random.Generator) -> Style:
  """Returns the style as one artist plays it."""
  low, high = style.tempo
  centre = rng.uniform(low, high) * rng.uniform(0.92, 1.08)
  timbre = dataclasses.replace(
    style.timbre,
    rolloff=style.timbre.rolloff + rng.normal(0, 0.25),
    attack_s=style.timbre.attack_s * rng.uniform(0.6, 1.6),
    decay_s=style.timbre.decay_s * rng.uniform(0.6, 1.6),
    drive=style.timbre.drive * rng.uniform(0.5, 1.5),
  )
  levels = {
    name: getattr(style.mix, name) * 10 ** rng.normal(0, 0.12)
    for name in ('drums', 'bass', 'chords', 'lead')
  }
  mix = dataclasses.replace(
    style.mix,
    **levels,
    tilt_db_per_octave=style.mix.tilt_db_per_octave + rng.normal(0, 0.8),
    room_s=style.mix.room_s * rng.uniform(0.5, 1.8),
  )
  tempo = (centre * 0.97, centre * 1.03)
  return dataclasses.replace(style, tempo=tempo, timbre=timbre, mix=mix)


def render(
  style: Style, length: int, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
  """Returns f32[length] mono music in a style, with its peak at 0.9."""
  step = 60.0 / rng.uniform(*style.tempo) / 4 * sample_rate_hz  # samples
  loop = np.zeros(int(step * STEPS * _LOOP_BARS), np.float32)
  _play_drums(loop, step, style, sample_rate_hz, rng)
  _play_notes(loop, step, style, sample_rate_hz, rng)
  dry = np.resize(loop, length)
  wet = _mix(dry, style.mix, sample_rate_hz, rng)
  return (0.9 / max(np.abs(wet).max(), 1e-6) * wet).astype(np.float32)


def _play_drums(
  out: np.ndarray,
  step: float,
  style: Style,
  rate_hz: int,
  rng: np.random.Generator,
) -> None:
  seconds = np.arange(int(0.25 * rate_hz)) / rate_hz
  noise = rng.normal(size=len(seconds))
  sweep = 2 * np.pi * np.cumsum(45 + 120 * np.exp(-seconds * 40)) / rate_hz
  sounds = {
    'kick': np.sin(sweep) * np.exp(-seconds * 14),
    'snare': 0.6 * noise * np.exp(-seconds * 22),
    'hat': 0.4 * np.diff(noise, prepend=0.0) * np.exp(-seconds * 60),
  }
  for name, sound in sounds.items():
    pattern = getattr(style.rhythm, name)
    for index in range(STEPS * _LOOP_BARS):
      hit = pattern[index % STEPS]
      if hit != '.':
        level = style.mix.drums * (1.0 if hit == 'x' else 0.5)
        _add(out, _onset(index, step, style), sound * level)


def _play_notes(
  out: np.ndarray,
  step: float,
  style: Style,
  rate_hz: int,
  rng: np.random.Generator,
) -> None:
  key_hz = 110.0 * 2 ** (rng.integers(0, 12) / 12)
  table = _wavetable(style.timbre)
  rhythm, mix = style.rhythm, style.mix
  for index in range(STEPS * _LOOP_BARS):
    chord = style.harmony[index // STEPS % len(style.harmony)]
    notes = []  # (semitones over the key, level, length in steps)
    if index % rhythm.chord_steps == 0:
      level = 0.35 * mix.chords
      notes += [(tone + 12, level, rhythm.chord_steps) for tone in chord]
    if index % 4 == 0:
      notes += [(chord[0] - 12, 0.6 * mix.bass, 4)]
    if index % 2 == 0 and rng.random() < rhythm.lead_density:
      notes += [(rng.choice(chord) + 24, 0.5 * mix.lead, 3)]
    for semitones, level, steps in notes:
      frequency_hz = key_hz * 2 ** (semitones / 12)
      seconds = min(steps * step / rate_hz + 0.1, 2.0)
      note = _note(table, frequency_hz, seconds, style.timbre, rate_hz)
      _add(out, _onset(index, step, style), level * note)


def _onset(index: int, step: float, style: Style) -> int:
  return int((index + style.rhythm.swing * (index % 2)) * step)


def _add(out: np.ndarray, onset: int, sound: np.ndarray) -> None:
  """Adds a sound at its onset, truncated at the end of the loop."""
  sound = sound[: max(0, len(out) - onset)]
  out[onset : onset + len(sound)] += sound


def _wavetable(timbre: Timbre) -> np.ndarray:
  phase = 2 * np.pi * np.arange(_TABLE_SIZE) / _TABLE_SIZE
  table = np.zeros(_TABLE_SIZE)
  for harmonic in range(1, 13, 2 if timbre.odd_only else 1):
    table += np.sin(harmonic * phase) * harmonic**-timbre.rolloff
  table /= np.abs(table).max()
  if timbre.drive:
    table = np.tanh(timbre.drive * table) / np.tanh(timbre.drive)
  return table.astype(np.float32)


def _note(
  table: np.ndarray,
  frequency_hz: float,
  duration_s: float,
  timbre: Timbre,
  rate_hz: int,
) -> np.ndarray:
  seconds = np.arange(int(duration_s * rate_hz), dtype=np.float32) / rate_hz
  cycles = frequency_hz * seconds
  if timbre.vibrato:
    wobble = timbre.vibrato / (2 * np.pi * 5.5)
    cycles += frequency_hz * wobble * np.sin(2 * np.pi * 5.5 * seconds)
  wave = table[(cycles * _TABLE_SIZE).astype(np.int32) % _TABLE_SIZE]
  attack = np.minimum(seconds / timbre.attack_s, 1.0)
  release = np.minimum((duration_s - seconds) / 0.02, 1.0)
  return wave * attack * release * np.exp(-seconds / timbre.decay_s)


def _mix(
  dry: np.ndarray, mix: Mix, rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
  """Tilts the spectrum, and adds reverberation and noise."""
  size = 1 << int(np.ceil(np.log2(len(dry) + 3 * rate_hz)))
  seconds = np.arange(3 * rate_hz) / rate_hz
  room = rng.normal(size=len(seconds)) * np.exp(-seconds * 6.9 / mix.room_s)
  room *= 0.3 / np.linalg.norm(room)
  room[0] += 1.0
  octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / rate_hz), 40) / 500)
  gain = 10 ** (mix.tilt_db_per_octave * octaves / 20)
  spectrum = np.fft.rfft(dry, size) * np.fft.rfft(room, size) * gain
  wet = np.fft.irfft(spectrum, size)[: len(dry)]
  return wet + mix.noise * rng.normal(size=len(dry)) * np.std(wet)
