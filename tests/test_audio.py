import shutil
import subprocess
import tracemalloc

import numpy as np
import pytest
import soundfile

from mgc_jax.audio import decode
from mgc_jax.audio.probe import probe
from mgc_jax.system.errors import DataError
from tests.conftest import tone, write_tone

needs_ffmpeg = pytest.mark.skipif(
  not shutil.which('ffmpeg'), reason='ffmpeg is not installed'
)


def _read(path, rate_hz=8000, excerpt_s=30.0, excerpts='middle'):
  reader = decode.ExcerptReader(path, rate_hz, excerpt_s, excerpts)
  return [excerpt for _, excerpt in reader]


@pytest.mark.parametrize('ending', ['wav', 'au', 'flac', 'ogg', 'mp3', 'opus'])
def test_reads_every_format_of_libsndfile(tmp_path, ending):
  path = write_tone(tmp_path / f'x.{ending}', seconds=2.0)
  (waveform,) = _read(path)
  assert waveform.dtype == np.float32
  assert len(waveform) == pytest.approx(16000, abs=800)
  loudness = np.sqrt((waveform**2).mean())
  assert loudness == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@needs_ffmpeg
def test_reads_m4a_through_ffmpeg(tmp_path):
  wav = write_tone(tmp_path / 'x.wav', seconds=3.0, channels=2)
  path = tmp_path / 'x.m4a'
  subprocess.run(['ffmpeg', '-v', 'error', '-i', wav, path], check=True)
  assert probe(path).reader == 'ffmpeg'
  (waveform,) = _read(path, excerpt_s=2.0)
  assert len(waveform) == 16000
  spectrum = np.abs(np.fft.rfft(waveform))
  assert np.argmax(spectrum) * 8000 / 16000 == pytest.approx(440, abs=1)


def test_message_without_ffmpeg_says_to_install_it(tmp_path, monkeypatch):
  path = tmp_path / 'x.m4a'
  path.write_bytes(b'\0\0\0\x20ftypM4A ' + bytes(100))
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(DataError, match='install ffmpeg'):
    _read(path)


def test_middle_excerpt_is_centred(tmp_path):
  samples = np.linspace(0.0, 0.9, 80000, dtype=np.float32)
  soundfile.write(tmp_path / 'ramp.wav', samples, 8000, subtype='FLOAT')
  (waveform,) = _read(tmp_path / 'ramp.wav', excerpt_s=2.0)
  np.testing.assert_allclose(waveform, samples[32000:48000], atol=1e-6)


def test_all_excerpts_concatenate_to_the_track(tmp_path):
  samples = tone(7.0)[:, 0]
  soundfile.write(tmp_path / 'x.wav', samples, 8000, subtype='FLOAT')
  found = _read(tmp_path / 'x.wav', excerpt_s=3.0, excerpts='all')
  assert [len(x) for x in found] == [24000, 24000, 8000]
  np.testing.assert_allclose(np.concatenate(found), samples, atol=1e-6)


@pytest.mark.parametrize('excerpts', ['middle', 'all'])
def test_memory_does_not_grow_with_file_length(tmp_path, excerpts):
  path = write_tone(tmp_path / 'x.wav', seconds=1800.0)
  tracemalloc.start()
  found = decode.ExcerptReader(path, 4000, 10.0, excerpts)
  total = sum(len(waveform) for _, waveform in found)
  _, peak_bytes = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert total == (40_000 if excerpts == 'middle' else 7_200_000)
  assert peak_bytes < 4e6  # the whole file would take 58 MB


def test_silent_excerpts_of_a_longer_track_are_skipped(tmp_path):
  samples = np.concatenate([tone(2.0)[:, 0], np.zeros(32000), tone(1.0)[:, 0]])
  soundfile.write(tmp_path / 'x.wav', samples, 8000)
  found = _read(tmp_path / 'x.wav', excerpt_s=2.0, excerpts='all')
  assert [len(x) for x in found] == [16000, 8000]


def test_mono_is_the_mean_of_the_channels(tmp_path):
  left, right = tone(1.0)[:, 0], tone(1.0, frequency_hz=700.0)[:, 0]
  stereo = np.stack([left, right], axis=1)
  soundfile.write(tmp_path / 'x.wav', stereo, 8000, subtype='FLOAT')
  (waveform,) = _read(tmp_path / 'x.wav')
  np.testing.assert_allclose(waveform, (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize('rate_hz', [8000, 44100, 192000])
def test_resampling_keeps_pitch_and_length(tmp_path, rate_hz):
  path = write_tone(tmp_path / 'x.wav', seconds=2.0, rate_hz=rate_hz)
  (waveform,) = _read(path, rate_hz=22050)
  assert len(waveform) == pytest.approx(44100, abs=2)
  spectrum = np.abs(np.fft.rfft(waveform[:44000]))
  assert np.argmax(spectrum) * 22050 / 44000 == pytest.approx(440, abs=1)


def test_wav_of_unknown_length_is_not_truncated(tmp_path):
  """Programs that write to a pipe leave 0xFFFFFFFF as the size."""
  path = write_tone(tmp_path / 'x.wav', seconds=2.0)
  data = bytearray(path.read_bytes())
  at = data.index(b'data') + 4
  data[at : at + 4] = b'\xff\xff\xff\xff'
  path.write_bytes(data)
  (waveform,) = _read(path)
  assert len(waveform) == pytest.approx(16000, abs=2)


@needs_ffmpeg
def test_playlist_renamed_to_audio_reads_no_other_file(tmp_path):
  write_tone(tmp_path / 'secret.wav')
  path = tmp_path / 'x.mp3'
  path.write_text("ffconcat version 1.0\nfile 'secret.wav'\n")
  with pytest.raises(DataError, match='not audio'):
    _read(path)
