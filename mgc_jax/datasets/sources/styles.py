"""The musical styles of the genres in the synthetic corpus."""

import dataclasses

STEPS = 16  # sixteenth notes in a bar


@dataclasses.dataclass(frozen=True)
class Rhythm:
  """Drum patterns in sixteenths (x: hit, o: soft), and the timing of notes."""

  kick: str
  snare: str
  hat: str
  chord_steps: int  # sixteenths between chord strokes
  lead_density: float  # probability of a note on an eighth
  swing: float = 0.0  # delay of every second sixteenth, in sixteenths


@dataclasses.dataclass(frozen=True)
class Timbre:
  """The sound of pitched notes."""

  rolloff: float  # harmonic h has amplitude h ** -rolloff
  odd_only: bool  # whether even harmonics are missing
  attack_s: float
  decay_s: float
  vibrato: float  # depth, as a fraction of the frequency
  drive: float  # gain before a tanh; 0: clean


@dataclasses.dataclass(frozen=True)
class Mix:
  """Levels, spectral tilt and reverberation."""

  drums: float
  bass: float
  chords: float
  lead: float
  tilt_db_per_octave: float
  room_s: float
  noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class Style:
  """The five traits in which genres differ."""

  tempo: tuple[float, float]  # range, in beats per minute
  rhythm: Rhythm
  harmony: tuple[tuple[int, ...], ...]  # chords of a loop, in semitones
  timbre: Timbre
  mix: Mix


_MAJOR, _MINOR, _SEVENTH, _MINOR_7 = (
  (0, 4, 7),
  (0, 3, 7),
  (0, 4, 7, 10),
  (0, 3, 7, 10),
)


def _progression(*chords: tuple[int, tuple[int, ...]]) -> tuple:
  return tuple(tuple(root + i for i in kind) for root, kind in chords)


_ONE_FOUR_FIVE = _progression(
  (0, _MAJOR), (5, _MAJOR), (7, _MAJOR), (0, _MAJOR)
)
_POP = _progression((0, _MAJOR), (7, _MAJOR), (9, _MINOR), (5, _MAJOR))
_POWER = ((0, 7, 12), (0, 7, 12), (5, 12, 17), (3, 10, 15))
_TWO_FIVE_ONE = _progression(
  (2, _MINOR_7), (7, _SEVENTH), (0, (0, 4, 7, 11)), (9, _SEVENTH)
)
_MINOR_LOOP = _progression((0, _MINOR), (8, _MAJOR), (3, _MAJOR), (10, _MAJOR))
_CADENCE = _progression((0, _MAJOR), (2, _MINOR), (7, _SEVENTH), (0, _MAJOR))
_CLUSTERS = ((0, 1, 6), (3, 4, 11), (8, 13, 14), (2, 6, 7))
_DRONE = ((0, 7, 14), (0, 7, 14), (-2, 5, 12), (0, 7, 14))
_NONE = '.' * STEPS

STYLES = {
  'classical': Style(
    tempo=(66, 112),
    rhythm=Rhythm(_NONE, _NONE, _NONE, 4, 0.7),
    harmony=_CADENCE,
    timbre=Timbre(1.6, False, 0.06, 1.2, 0.006, 0.0),
    mix=Mix(0.0, 0.5, 0.6, 0.8, -1.5, 1.2),
  ),
  'country': Style(
    tempo=(92, 132),
    rhythm=Rhythm('x.......x.......', '....o.......o...', _NONE, 4, 0.6),
    harmony=_ONE_FOUR_FIVE,
    timbre=Timbre(1.1, False, 0.003, 0.35, 0.0, 0.0),
    mix=Mix(0.5, 0.7, 0.7, 0.8, 0.0, 0.2),
  ),
  'electronic': Style(
    tempo=(120, 138),
    rhythm=Rhythm(
      'x...x...x...x...', '....x.......x...', '..x...x...x...x.', 2, 0.3
    ),
    harmony=_MINOR_LOOP,
    timbre=Timbre(0.8, False, 0.005, 0.15, 0.0, 1.0),
    mix=Mix(1.0, 0.9, 0.5, 0.5, 1.0, 0.3),
  ),
  'experimental': Style(
    tempo=(50, 150),
    rhythm=Rhythm(
      'x....o.....x....', '.......o......x.', 'o..o....o.......', 16, 0.2
    ),
    harmony=_CLUSTERS,
    timbre=Timbre(0.5, True, 0.2, 1.5, 0.03, 2.0),
    mix=Mix(0.4, 0.3, 0.6, 0.6, 1.5, 2.0, 0.05),
  ),
  'folk': Style(
    tempo=(80, 124),
    rhythm=Rhythm(_NONE, _NONE, _NONE, 2, 0.5),
    harmony=_ONE_FOUR_FIVE,
    timbre=Timbre(1.3, False, 0.003, 0.5, 0.002, 0.0),
    mix=Mix(0.0, 0.3, 0.8, 0.7, -0.5, 0.4),
  ),
  'hiphop': Style(
    tempo=(78, 98),
    rhythm=Rhythm(
      'x..o..x...x.....', '....x.......x...', 'x.x.x.x.x.x.x.xx', 8, 0.15, 0.3
    ),
    harmony=_MINOR_LOOP,
    timbre=Timbre(1.5, False, 0.01, 0.4, 0.0, 0.5),
    mix=Mix(1.2, 1.2, 0.4, 0.3, -2.0, 0.1),
  ),
  'instrumental': Style(
    tempo=(60, 96),
    rhythm=Rhythm(_NONE, _NONE, 'o.......o.......', 16, 0.25),
    harmony=_DRONE,
    timbre=Timbre(1.8, False, 0.4, 3.0, 0.003, 0.0),
    mix=Mix(0.2, 0.6, 0.9, 0.5, -1.0, 2.5),
  ),
  'jazz': Style(
    tempo=(100, 190),
    rhythm=Rhythm(
      'o.......o.......', '......o.......o.', 'x...x..xx...x..x', 6, 0.8, 0.6
    ),
    harmony=_TWO_FIVE_ONE,
    timbre=Timbre(1.2, True, 0.02, 0.5, 0.008, 0.3),
    mix=Mix(0.5, 0.8, 0.5, 0.9, -1.0, 0.5),
  ),
  'pop': Style(
    tempo=(100, 128),
    rhythm=Rhythm(
      'x.....x.x.......', '....x.......x...', 'x.x.x.x.x.x.x.x.', 4, 0.5
    ),
    harmony=_POP,
    timbre=Timbre(1.0, False, 0.02, 0.5, 0.004, 0.3),
    mix=Mix(0.8, 0.7, 0.6, 0.9, 1.0, 0.4),
  ),
  'rock': Style(
    tempo=(110, 150),
    rhythm=Rhythm(
      'x.x.....x.x.....', '....x.......x...', 'x.x.x.x.x.x.x.x.', 2, 0.3
    ),
    harmony=_POWER,
    timbre=Timbre(0.9, False, 0.005, 0.7, 0.002, 5.0),
    mix=Mix(0.9, 0.8, 0.9, 0.6, 0.5, 0.3),
  ),
}
