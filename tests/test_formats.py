import csv
import io
import json
import os

import numpy as np
import pytest

from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from tests.commands import run_command

LATIN = os.fsdecode(b'latin-\xe9, "2".mp3')


@pytest.fixture
def folder(tmp_path):
  """An index of three tracks, and of one that failed."""
  with Index(tmp_path / 'index', create=True) as index:
    index.set_model('crnn', '0' * 64, ('jazz', 'rock'))
    for i, name in enumerate(('a.mp3', 'b.mp3', LATIN)):
      path = tmp_path / name
      path.write_bytes(b'x' * i)
      facts = (str(path), str(tmp_path), i, path.stat().st_mtime_ns)
      title = '' if name == LATIN else name
      values = (1800.0, ('jazz', 'rock')[i % 2], 0.4 + i / 4)
      entry = Entry(*facts, 'Ann', title, '', *values)
      index.put(entry, np.ones(2), [1.0, i])
    failed = Entry(str(tmp_path / 'c.mp3'), str(tmp_path), 1, 1, '', '', 'cut')
    index.put(failed)
  return tmp_path


def _run(folder, *words):
  done = run_command('mgc_jax.collection', *words, f'--index={folder}/index')
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_similar_tracks_as_json_and_csv(folder):
  song = folder / 'a.mp3'
  lines = _run(folder, 'similar', song, '--format=json').splitlines()
  found = [json.loads(line) for line in lines]
  wanted = [f'{folder}/b.mp3', f'{folder}/{LATIN}']
  assert [one['path'] for one in found] == wanted
  assert found[0]['cosine'] == pytest.approx(0.5**0.5, abs=1e-4)
  text = _run(folder, 'similar', song, '--format=csv')
  rows = list(csv.DictReader(io.StringIO(text)))
  for row, one in zip(rows, found, strict=True):
    assert row == {name: str(value) for name, value in one.items()}


def test_similar_tracks_as_a_playlist(folder):
  text = _run(folder, 'similar', folder / 'a.mp3', '--format=m3u8')
  assert text == (
    f'#EXTM3U\n#EXTINF:1800,Ann - b.mp3\n{folder}/b.mp3\n'
    f'#EXTINF:1800,Ann\n{folder}/{LATIN}\n'
  )


def test_a_report_as_json_csv_and_playlist(folder):
  found = json.loads(_run(folder, 'report', '--format=json', '--least=1'))
  jazz = {'tracks': 2, 'hours': 1.0, 'uncertain': 1}
  assert found['genres']['jazz'] == jazz
  assert [one['path'] for one in found['least_certain']] == [f'{folder}/a.mp3']
  assert found['num_failures'] == 1
  assert found['failures'] == {f'{folder}/c.mp3': 'cut'}
  text = _run(folder, 'report', '--format=csv')
  assert text == 'genre,tracks,hours,uncertain\njazz,2,1.0,1\nrock,1,0.5,0\n'
  text = _run(folder, 'report', '--format=m3u8', '--least=2')
  assert text.splitlines()[2::2] == [f'{folder}/a.mp3', f'{folder}/b.mp3']
