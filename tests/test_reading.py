"""Every kind of file that plays can be read; the files are created here.

The kinds are from public bug reports: files without a stated length, with a
wrong one, with sound that starts late, joined, truncated and damaged.
"""

import random
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from mutagen import apev2, id3

from mgc_jax.audio import ffmpeg, sndfile
from mgc_jax.audio.decode import ExcerptReader, decoded
from mgc_jax.audio.probe import probe
from mgc_jax.system.errors import DataError
from tests.conftest import table, write_tone
from tests.processes import environment

RATE_HZ = 22050
SECONDS = 6.0

_TOOLS = {tool: shutil.which(tool) for tool in ('ffmpeg', 'lame')}


def _needs(*tools):
  missing = [tool for tool in tools if not _TOOLS[tool]]
  return pytest.mark.skipif(
    bool(missing), reason=f'not installed: {", ".join(missing)}'
  )


@pytest.fixture(scope='module')
def wav(tmp_path_factory):
  """Noise bursts and tones in stereo, so that a VBR encoder varies the rate."""
  rng = np.random.default_rng(0)
  time_s = np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ
  tone = 0.3 * np.sin(2 * np.pi * 440 * time_s)
  noise = 0.2 * rng.normal(size=len(tone)) * (time_s % 2 < 1)
  path = tmp_path_factory.mktemp('wav') / 'source.wav'
  soundfile.write(path, np.stack([tone + noise, tone], axis=1), RATE_HZ)
  return path


def _run(*words):
  subprocess.run(list(map(str, words)), check=True, capture_output=True)


def _encode(wav, path, *options):
  _run('ffmpeg', '-v', 'error', '-y', '-nostdin', '-i', wav, *options, path)
  return path


def _lame(wav, path, *options):
  _run('lame', '--quiet', *options, wav, path)
  return path


def _piped(wav, path, muxer, *options):
  """Encodes to a pipe, where the encoder cannot go back to write a length."""
  command = ['ffmpeg', '-v', 'error', '-nostdin', '-i', wav, *options]
  with path.open('wb') as file:
    done = subprocess.run(
      [*command, '-f', muxer, 'pipe:1'], capture_output=True, check=True
    )
    file.write(done.stdout)
  return path


def _with_wav_size(wav, path, size, riff_size=None):
  data = bytearray(wav.read_bytes())
  at = data.index(b'data') + 4
  actual = len(data) - at - 4
  data[at : at + 4] = struct.pack('<I', size(actual))
  if riff_size is not None:
    data[4:8] = struct.pack('<I', riff_size)
  path.write_bytes(data)


def _without_end(path):
  """Clears the last Ogg page's end-of-stream flag and updates its checksum."""
  data = bytearray(path.read_bytes())
  page = data.rfind(b'OggS')
  data[page + 5] &= ~4
  data[page + 22 : page + 26] = bytes(4)
  sum_ = 0
  for byte in data[page:]:
    sum_ ^= byte << 24
    for _ in range(8):
      sum_ = (sum_ << 1 ^ (0x04C11DB7 if sum_ & 1 << 31 else 0)) & 0xFFFFFFFF
  data[page + 22 : page + 26] = struct.pack('<I', sum_)
  path.write_bytes(data)


def _with_ape(path, size):
  tags = apev2.APEv2()
  tags['Comment'] = 'y' * size
  tags.save(path)


def _with_id3(path):
  plain = path.read_bytes()
  tags = id3.ID3()
  tags.add(id3.APIC(encoding=0, mime='image/jpeg', type=3, data=bytes(10**5)))
  tags.save(path.with_suffix('.id3'))
  path.write_bytes(path.with_suffix('.id3').read_bytes() + plain)


def _with_lyrics(path):
  lyrics = b'LYRICSBEGINLYR02000' + b'l' * 2000
  lyrics += b'%06dLYRICS200' % len(lyrics) + b'TAG' + b'x' * 125
  path.write_bytes(path.read_bytes() + lyrics)


def _doubled(path):
  path.write_bytes(2 * path.read_bytes())


def _grown(path, front=b'', behind=b''):
  path.write_bytes(front + path.read_bytes() + behind)


def _late(wav, path, *codecs):
  """Writes ten seconds of video with sound that starts after three."""
  sound = _encode(wav, path.with_name('sound.m4a'), '-c:a', 'aac')
  picture = ['-f', 'lavfi', '-i', 'color=d=10:s=64x64:r=5']
  command = ['ffmpeg', '-v', 'error', '-y', *picture, '-itsoffset', '3']
  command += ['-i', sound, '-map', '0:v', '-map', '1:a', '-c:a', 'copy']
  _run(*command, *codecs, path)


def _mp3(*changes, options=('-b', '128')):
  def make(wav, folder):
    path = _lame(wav, folder / 'x.mp3', *options)
    for change in changes:
      change(path)
    return path

  return make


def _by_ffmpeg(name, *options, change=None):
  def make(wav, folder):
    path = _encode(wav, folder / name, *options)
    if change:
      change(path)
    return path

  return make


def _sized(size, riff_size=None):
  def make(wav, folder):
    _with_wav_size(wav, folder / 'x.wav', size, riff_size)
    return folder / 'x.wav'

  return make


def _to_pipe(name, muxer, *options):
  return lambda wav, folder: _piped(wav, folder / name, muxer, *options)


def _video(name, *codecs):
  def make(wav, folder):
    _late(wav, folder / name, *codecs)
    return folder / name

  return make


_CBR, _VBR = ('-t', '-b', '128'), ('-t', '-V2')
# Name, function that creates a file, its length in units of SECONDS.
WHOLE_BY_LAME = [
  ('MP3 with an Info header', _mp3(), 1),
  ('MP3 with a Xing header', _mp3(options=('-V2',)), 1),
  ('CBR without a header', _mp3(options=_CBR), 1),
  ('VBR without a header', _mp3(options=_VBR), 1),
  ('MPEG-2 without a header', _mp3(options=(*_CBR, '--resample', '16')), 1),
  ('joined, with headers', _mp3(_doubled), 2),
  ('joined, without', _mp3(_doubled, options=_VBR), 2),
  ('APEv2 behind', _mp3(lambda p: _with_ape(p, 3000), options=_CBR), 1),
  ('large APEv2 behind', _mp3(lambda p: _with_ape(p, 10**5)), 1),
  ('Lyrics3 and ID3v1 behind', _mp3(_with_lyrics, options=_CBR), 1),
  ('a cover in front', _mp3(_with_id3, options=_CBR), 1),
  ('several tags in front', _mp3(_with_id3, _with_id3), 1),
  ('zeros behind', _mp3(lambda p: _grown(p, behind=bytes(4096))), 1),
  ('200 kB of zeros in front', _mp3(lambda p: _grown(p, bytes(200_000))), 1),
]
WHOLE_BY_FFMPEG = [
  ('WAV of size 0', _sized(lambda size: 0), 1),
  ('WAV and RIFF of size 0', _sized(lambda size: 0, 0), 1),
  ('WAV of size 0xFFFFFFFF', _sized(lambda size: 0xFFFFFFFF), 1),
  ('WAV a little short', _sized(lambda size: size + 16), 1),
  ('WAV a byte short', _sized(lambda size: size + 1), 1),
  ('GSM', _by_ffmpeg('x.wav', '-c:a', 'libgsm_ms', '-ar', '8000', '-ac', 1), 1),
  ('A-law', _by_ffmpeg('x.wav', '-c:a', 'pcm_alaw'), 1),
  ('Opus', _by_ffmpeg('x.opus', '-c:a', 'libopus'), 1),
  (
    'Opus without its end',
    _by_ffmpeg('x.opus', '-c:a', 'libopus', change=_without_end),
    1,
  ),
  (
    'Vorbis without its end',
    _by_ffmpeg('x.ogg', '-c:a', 'libvorbis', change=_without_end),
    1,
  ),
  (
    'Vorbis with zeros behind',
    _by_ffmpeg(
      'x.ogg',
      '-c:a',
      'libvorbis',
      change=lambda p: _grown(p, b'', bytes(140000)),
    ),
    1,
  ),
  ('chained', _by_ffmpeg('x.ogg', '-c:a', 'libvorbis', change=_doubled), 2),
  ('m4a', _by_ffmpeg('x.m4a', '-c:a', 'aac'), 1),
  ('AAC without a container', _by_ffmpeg('x.aac', '-c:a', 'aac'), 1),
  ('WMA', _by_ffmpeg('x.wma', '-c:a', 'wmav2'), 1),
  ('Matroska', _by_ffmpeg('x.mka', '-c:a', 'libvorbis'), 1),
  ('WavPack', _by_ffmpeg('x.wv'), 1),
  ('CAF', _by_ffmpeg('x.caf'), 1),
  ('AIFF', _by_ffmpeg('x.aiff'), 1),
  ('FLAC from a pipe', _to_pipe('x.flac', 'flac'), 1),
  ('WebM from a pipe', _to_pipe('x.webm', 'webm', '-c:a', 'libopus'), 1),
  ('AIFF from a pipe', _to_pipe('x.aiff', 'aiff'), 1),
  (
    'fragments',
    _to_pipe('x.mp4', 'mp4', '-movflags', 'empty_moov+frag_keyframe'),
    1,
  ),
  ('late sound in MP4', _video('x.mp4', '-c:v', 'mpeg4'), 1),
  ('late sound in Matroska', _video('x.mkv', '-c:v', 'mpeg4'), 1),
  (
    'a wrong extension',
    lambda wav, folder: _encode(wav, folder / 'x.wav', '-f', 'flac'),
    1,
  ),
]


def _check_length(make, wav, folder, length):
  path = make(wav, folder)
  reader = ExcerptReader(path, 8000, 2.5, 'all')
  found = list(reader)
  seconds = sum(len(samples) for _, samples in found) / 8000
  assert seconds == pytest.approx(length * SECONDS, abs=0.3)
  assert reader.outcome.duration_s == pytest.approx(seconds, abs=0.01)
  assert reader.outcome.warning == ''
  assert [start_s for start_s, _ in found] == [
    2.5 * i for i in range(len(found))
  ]
  ((start_s, middle),) = ExcerptReader(path, 8000, 2.0)
  assert len(middle) == 16000
  assert start_s == pytest.approx(length * SECONDS / 2 - 1, abs=0.2)


@_needs('ffmpeg', 'lame')
@pytest.mark.parametrize(('make', 'length'), **table(WHOLE_BY_LAME))
def test_intact_mp3s_are_read_to_their_end(make, length, wav, tmp_path):
  _check_length(make, wav, tmp_path, length)


@_needs('ffmpeg')
@pytest.mark.parametrize(('make', 'length'), **table(WHOLE_BY_FFMPEG))
def test_intact_files_are_read_to_their_end(make, length, wav, tmp_path):
  _check_length(make, wav, tmp_path, length)


@_needs('ffmpeg')
def test_joined_flac_files_are_read_to_their_end(wav, tmp_path):
  """For the middle excerpt only the first of them is used."""
  path = _encode(wav, tmp_path / 'x.flac')
  _doubled(path)
  assert decoded(path).duration_s == pytest.approx(2 * SECONDS, abs=0.3)


def _truncated(path):
  data = path.read_bytes()
  path.write_bytes(data[: int(0.6 * len(data))])


def _noise(path):
  data = bytearray(path.read_bytes())
  middle = len(data) // 2
  data[middle : middle + 9000] = random.Random(0).randbytes(9000)
  path.write_bytes(data)


TRUNCATED = [
  ('WAV', ('x.wav',), 3.6),
  ('AIFF', ('x.aiff',), 3.6),
  ('FLAC', ('x.flac',), 2.8),
  ('Vorbis', ('x.ogg', '-c:a', 'libvorbis'), 2.0),
  ('Opus', ('x.opus', '-c:a', 'libopus'), 3.0),
  ('MP3', ('x.mp3',), 3.6),
  ('m4a', ('x.m4a', '-c:a', 'aac', '-movflags', '+faststart'), 3.5),
]


@_needs('ffmpeg')
@pytest.mark.parametrize(('options', 'seconds'), **table(TRUNCATED))
def test_truncated_files_are_read_as_far_as_they_play(
  options, seconds, wav, tmp_path
):
  path = _encode(wav, tmp_path / options[0], *options[1:])
  _truncated(path)
  reader = ExcerptReader(path, 8000, 30.0, 'all')
  ((_, samples),) = reader
  assert len(samples) / 8000 == pytest.approx(seconds, abs=0.5)
  assert 'truncated' in reader.outcome.warning
  assert f'{len(samples) / 8000:.1f}' in reader.outcome.warning
  assert decoded(path).warning == reader.outcome.warning
  # The middle of what can be decoded, as the stated one is past the damage.
  middle = ExcerptReader(path, 8000, 1.0)
  ((start_s, excerpt),) = middle
  assert len(excerpt) == 8000 and middle.outcome.warning
  assert middle.outcome.fraction < 0.7
  assert start_s == pytest.approx(len(samples) / 16000 - 0.5, abs=0.1)


@_needs('ffmpeg')
@pytest.mark.parametrize('name', ['x.flac', 'x.mp3'])
def test_noise_in_the_middle_loses_a_part_and_warns(name, wav, tmp_path):
  path = _encode(wav, tmp_path / name)
  _noise(path)
  found = decoded(path)
  assert 0.75 * SECONDS < found.duration_s < SECONDS
  assert f'{found.duration_s:.1f} of 6.0 s decoded' in found.warning


def test_non_finite_samples_are_replaced(tmp_path):
  samples = np.full(16000, 0.5, np.float32)
  samples[100], samples[200] = np.nan, np.inf
  soundfile.write(tmp_path / 'x.wav', samples, 8000, subtype='FLOAT')
  reader = ExcerptReader(tmp_path / 'x.wav', 8000, 30.0)
  ((_, found),) = reader
  assert found[100] == found[200] == 0 and found[300] == 0.5
  assert 'not finite' in reader.outcome.warning


def _stereo(path, left, right):
  soundfile.write(path, np.stack([left, right], axis=1), 8000, subtype='FLOAT')
  ((_, samples),) = ExcerptReader(path, 8000, 30.0)
  return samples


def test_cancelling_channels_are_not_silent(tmp_path):
  left = 0.5 * np.sin(np.arange(16000) / 9).astype(np.float32)
  for gain in (-1.0, -0.98):
    samples = _stereo(tmp_path / 'x.wav', left, np.float32(gain) * left)
    np.testing.assert_allclose(samples, left, atol=1e-6)
  for gain in (1.0, 0.0, -0.5):
    samples = _stereo(tmp_path / 'x.wav', left, np.float32(gain) * left)
    np.testing.assert_allclose(samples, left * (1 + gain) / 2, atol=1e-6)


def test_silence_in_all_channels_raises(tmp_path):
  nothing = np.zeros(16000, np.float32)
  with pytest.raises(DataError, match='silent'):
    _stereo(tmp_path / 'x.wav', nothing, nothing)


@_needs('ffmpeg')
def test_ffmpeg_continues_where_libsndfile_fails(wav, tmp_path):
  """libsndfile stops reading a FLAC file at its first damaged frame."""
  path = _encode(wav, tmp_path / 'x.flac')
  _noise(path)
  assert probe(path).reader == 'sndfile'
  assert decoded(path).duration_s > 5


def test_seeking_past_the_end_does_not_crash(tmp_path):
  """libsndfile can seek past the last sample if frames are damaged."""
  path = write_tone(tmp_path / 'x.mp3', seconds=0.6)
  data = bytearray(path.read_bytes())
  for at, length in ((1313, 1), (427, 2), (125, 16)):
    data[at:at] = data[at : at + length]
  path.write_bytes(data)
  with sndfile.opened(path) as file:
    assert file.seek(file.frames // 2 + file.samplerate // 2) > file.frames
  try:
    assert decoded(path).duration_s < 2
    list(ExcerptReader(path, 8000, 0.2))
  except DataError as error:
    assert 'silent' in str(error) or 'damaged' in str(error)


@_needs('ffmpeg', 'lame')
def test_only_an_exact_length_proves_truncation(wav, tmp_path):
  exact = _lame(wav, tmp_path / 'a.mp3', '-b', '128')
  estimate = _lame(wav, tmp_path / 'b.mp3', '-b', '128', '-t')
  assert probe(exact).is_exact and not probe(estimate).is_exact
  for path in (exact, estimate):
    _truncated(path)
  assert decoded(exact).fraction == pytest.approx(0.6, abs=0.05)
  assert decoded(estimate).warning == '' and decoded(estimate).fraction == 1


@_needs('lame')
def test_mp3_of_unknown_length_without_ffmpeg_warns(wav, tmp_path, monkeypatch):
  path = _lame(wav, tmp_path / 'a.mp3', '-b', '128', '-t')
  monkeypatch.setenv('PATH', str(tmp_path))
  found = decoded(path)
  assert found.duration_s == pytest.approx(SECONDS, abs=0.2)
  assert 'ffmpeg' in found.warning


@_needs('ffmpeg')
def test_format_off_the_whitelist_is_reported(wav, tmp_path):
  (tmp_path / 'list.m3u8').write_text(
    f'#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{wav}\n#EXT-X-ENDLIST\n'
  )
  with pytest.raises(DataError, match='whitelist'):
    probe(tmp_path / 'list.m3u8')
  for name in ('concat', 'hls', 'dash', 'lavfi', 'image2'):
    assert name not in ffmpeg.FORMATS.split(',')


@_needs('lame')
def test_libmpg123_prints_nothing(wav, tmp_path):
  """It prints to C's standard error, so the test needs a separate process."""
  for i in range(5):
    path = _lame(wav, tmp_path / f'{i}.mp3', '-b', '128')
    data = bytearray(path.read_bytes())
    for _ in range(30):
      at = random.Random(i).randrange(1000, len(data) - 100)
      data[at : at + 100] = random.Random(i).randbytes(100)
    path.write_bytes(data)
  (tmp_path / 'junk.mp3').write_bytes(b'\xff\xfb' * 70_000)
  code = (
    'import sys\n'
    'from mgc_jax.audio.decode import decoded\n'
    'for path in sys.argv[1:]:\n'
    '  try:\n'
    '    print(decoded(path))\n'
    '  except ValueError as error:\n'
    '    print(error)\n'
    'print("from Python", file=sys.stderr)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code, *sorted(tmp_path.glob('*.mp3'))],
    capture_output=True,
    text=True,
    env=environment(),
    check=True,
  )
  assert done.stderr == 'from Python\n'
