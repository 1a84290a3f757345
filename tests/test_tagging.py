"""Writing genre tags from the index, and restoring the old tags."""

import json
import os
import shutil
import sys

import mutagen
import numpy as np
import pytest

from mgc_jax.audio import tags as audio_tags
from mgc_jax.collection import tagging, tags
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal, TagJournal
from mgc_jax.collection.spelling import genre_key
from mgc_jax.system.errors import ConfigError, DataError
from tests.commands import run_command
from tests.conftest import write_tone
from tests.indexed_music import put, sort, unsort
from tests.processes import Process

COMMAND = [sys.executable, '-m', 'mgc_jax.collection']


@pytest.fixture
def music(tmp_path):
  """The folder of three indexed files: two of jazz, one of rock."""
  folder = tmp_path / 'music'
  files = {'a.flac': 'jazz', 'b.mp3': 'jazz', 'c.ogg': 'rock'}
  with Index(tmp_path / 'index', create=True) as index:
    index.set_model('crnn', '0' * 64, ('jazz', 'rock'))
    for name, genre in files.items():
      path = write_tone(folder / name, rate_hz=24000)
      put(index, path, folder, genre=genre)
  return folder


def _set_genres(tmp_path, path, *genres):
  """Writes genres into a file's tag and records its new state in the index."""
  file = mutagen.File(path, easy=True)
  if file.tags is None:
    file.add_tags()
  file['genre'] = list(genres)
  file.save()
  with Index(tmp_path / 'index') as index:
    index.touch(str(path), os.stat(path))


def _tag(tmp_path, apply=True, **options):
  with Index(tmp_path / 'index') as index:
    chosen = tagging.Options(0.5, apply=apply, **options)
    return tagging.tag(index, TagJournal(index.path), chosen)


def _undo(tmp_path, apply=True):
  with Index(tmp_path / 'index') as index:
    journal = TagJournal(index.path)
    return tagging.undo(index, journal, Journal(index.path), apply)


def _genres(folder):
  return {
    path.name: audio_tags.genres(str(path))
    for path in sorted(folder.rglob('*.*'))
    if '.partial' not in path.name
  }


def _changed(tmp_path):
  """Returns the files that another `index` would classify again."""
  with Index(tmp_path / 'index') as index:
    return [
      entry.path
      for entry in index.entries()
      if not entry.is_unchanged(os.stat(entry.path))
    ]


def test_replace_shows_every_genre_that_is_removed(music, tmp_path, capsys):
  _set_genres(tmp_path, music / 'a.flac', 'Polka', 'Folk\n Rock')
  assert _tag(tmp_path, replace=True, apply=False).tagged == 3
  assert 'a.flac: jazz (was Polka, Folk Rock)\n' in capsys.readouterr().out
  assert _genres(music)['a.flac'] == ['Polka', 'Folk Rock']
  assert not TagJournal(tmp_path / 'index').path.exists()


def test_a_genre_that_differs_only_in_case_is_kept(music, tmp_path):
  _set_genres(tmp_path, music / 'a.flac', 'JAZZ')
  counts = _tag(tmp_path, replace=True)
  assert (counts.tagged, counts.kept) == (2, 1)
  assert _genres(music)['a.flac'] == ['JAZZ']


def test_a_genre_is_spelled_as_in_most_tags_of_the_collection(music, tmp_path):
  spellings = ['Trad-Jazz', 'JAZZ', 'Jazz', 'Jazz', 'ja-zz']
  for i, name in enumerate(spellings):
    path = write_tone(music / f'{i}.flac', rate_hz=24000)
    with Index(tmp_path / 'index') as index:
      put(index, path, music, genre='rock', probability=0.1)
    _set_genres(tmp_path, path, name)
  assert _tag(tmp_path).tagged == 3
  found = _genres(music)
  assert found['a.flac'] == found['b.mp3'] == ['Jazz']
  assert found['c.ogg'] == ['rock']  # no tag has it in any spelling
  # A second spelling of the same genre is not written next to the first.
  assert _tag(tmp_path, replace=True).tagged == 0
  assert _undo(tmp_path).restored == 3
  assert _genres(music)['b.mp3'] == []


def test_names_can_be_given(music, tmp_path):
  _set_genres(tmp_path, music / 'a.flac', 'Jazz')
  lines = tmp_path / 'names.txt'
  lines.write_text('# names\n\nrock = Rock & Roll\njazz=no\n')
  assert (
    _tag(tmp_path, replace=True, given=[str(lines), 'Jazz=Swing']).tagged == 3
  )
  assert _genres(music) == {
    'a.flac': ['Swing'],
    'b.mp3': ['Swing'],
    'c.ogg': ['Rock & Roll'],
  }
  assert _undo(tmp_path).restored == 3
  assert _genres(music)['a.flac'] == ['Jazz']


@pytest.mark.parametrize(
  ('word', 'message'),
  [
    ('polka=Polka', 'polka is not a genre of this index, which has jazz, rock'),
    ('jazz=', '--map=jazz=: must be like jazz=Name'),
    ('jazz=a\tb', 'must be like jazz=Name'),
    ('missing.txt', 'neither GENRE=NAME nor a text file .No such file'),
  ],
)
def test_names_that_cannot_be_used_are_reported(word, message, music, tmp_path):
  with pytest.raises(ConfigError, match=message):
    _tag(tmp_path, given=[word])
  assert not any(_genres(music).values())


@pytest.mark.parametrize(
  ('one', 'other', 'same'),
  [
    ('hiphop', 'Hip-Hop', True),
    ('Hip Hop', 'HIPHOP', True),
    ('R&B', 'r b', True),
    ('rock', 'Folk Rock', False),
    ('+', '++', False),
  ],
)
def test_spellings_of_one_genre_have_one_key(one, other, same):
  assert (genre_key(one) == genre_key(other)) is same


def test_undo_restores_old_tags_and_removes_new_ones(music, tmp_path, capsys):
  _set_genres(tmp_path, music / 'a.flac', 'Polka', 'Folk')
  before = _genres(music)
  assert before == {'a.flac': ['Polka', 'Folk'], 'b.mp3': [], 'c.ogg': []}
  assert _tag(tmp_path, replace=True).tagged == 3
  tagged = _genres(music)
  assert tagged == {'a.flac': ['jazz'], 'b.mp3': ['jazz'], 'c.ogg': ['rock']}
  capsys.readouterr()
  assert _undo(tmp_path, apply=False).restored == 3
  output = capsys.readouterr().out
  assert 'a.flac: Polka, Folk (now jazz)\n' in output
  assert 'b.mp3: no genre (now jazz)\n' in output
  assert _genres(music) == tagged
  counts = _undo(tmp_path)
  assert (counts.restored, counts.failed) == (3, 0)
  assert _genres(music) == before
  assert not _changed(tmp_path)
  assert _undo(tmp_path) == tagging.UndoCounts(0, 0)


def test_undo_keeps_and_reports_tags_that_were_changed_since(
  music, tmp_path, capsys
):
  assert _tag(tmp_path).tagged == 3
  _set_genres(tmp_path, music / 'a.flac', 'Bebop')
  counts = _undo(tmp_path)
  assert (counts.restored, counts.failed) == (2, 1)
  output = capsys.readouterr().err
  assert 'a.flac: its genre tag is Bebop and no longer jazz' in output
  assert _genres(music) == {'a.flac': ['Bebop'], 'b.mp3': [], 'c.ogg': []}


def test_undo_reverts_two_replacements_of_one_tag(music, tmp_path):
  _set_genres(tmp_path, music / 'a.flac', 'Polka')
  assert _tag(tmp_path, replace=True).tagged == 3
  with Index(tmp_path / 'index') as index:
    put(index, music / 'a.flac', music, genre='rock')
  assert _tag(tmp_path, replace=True).tagged == 1
  assert _genres(music)['a.flac'] == ['rock']
  assert _undo(tmp_path).restored == 3
  assert _genres(music)['a.flac'] == ['Polka']


def test_undo_stops_at_a_genre_that_was_set_by_hand_between_two_runs(
  music, tmp_path
):
  assert _tag(tmp_path).tagged == 3
  _set_genres(tmp_path, music / 'a.flac', 'Polka')
  assert _tag(tmp_path, replace=True).tagged == 1
  counts = _undo(tmp_path)
  assert (counts.restored, counts.failed) == (3, 1)
  assert _genres(music)['a.flac'] == ['Polka']


@pytest.mark.parametrize('index_is_new', [False, True])
def test_undo_finds_a_file_that_was_moved_since(index_is_new, music, tmp_path):
  """Through the index, or through organise's journal if the index is new."""
  assert _tag(tmp_path).tagged == 3
  assert sort(tmp_path, 'move') == 0
  assert not list(music.rglob('*.*'))
  if index_is_new:
    (tmp_path / 'index').unlink()
    with Index(tmp_path / 'index', create=True) as index:
      index.set_model('crnn', '1' * 64, ('jazz', 'rock'))
      # The first id in the new index is also in the journal.
      other = write_tone(tmp_path / 'other' / 'x.flac')
      put(index, other, other.parent)
      tags.write(str(other), tags.Field(('jazz',)))
  assert _undo(tmp_path) == tagging.UndoCounts(3, 0)
  assert set(map(tuple, _genres(tmp_path / 'sorted').values())) == {()}
  if index_is_new:
    assert audio_tags.genre(str(other)) == 'jazz'
  assert unsort(tmp_path) == 0


def test_a_missing_file_is_reported_with_its_old_genre(music, tmp_path, capsys):
  _set_genres(tmp_path, music / 'a.flac', 'Polka')
  assert _tag(tmp_path, replace=True).tagged == 3
  (music / 'a.flac').unlink()
  assert _undo(tmp_path) == tagging.UndoCounts(2, 1)
  output = capsys.readouterr().err
  assert 'a.flac: missing; its old genre tag (Polka) is not restored' in output


def test_a_file_with_other_changes_is_classified_again_after_undo(
  music, tmp_path
):
  assert _tag(tmp_path).tagged == 3
  file = mutagen.File(music / 'a.flac')
  file['title'] = ['New']
  file.save()
  assert _undo(tmp_path) == tagging.UndoCounts(3, 0)
  assert mutagen.File(music / 'a.flac')['title'] == ['New']
  assert _changed(tmp_path) == [str(music / 'a.flac')]


def test_the_old_tag_is_in_the_journal_before_the_file_is_changed(
  music, tmp_path, monkeypatch
):
  journal = TagJournal(tmp_path / 'index')
  seen = []

  def write(path, *args):
    line = json.loads(journal.path.read_text().splitlines()[-1])
    seen.append((line['state'], line['path'] == path, line['old']))
    raise DataError('refused')

  monkeypatch.setattr(tags, 'write', write)
  _set_genres(tmp_path, music / 'a.flac', 'Polka', 'Folk')
  assert _tag(tmp_path, replace=True).failed == 3
  assert seen[0] == ('started', True, ['Polka', 'Folk'])
  assert len(seen) == 3 and not journal.active()


def test_files_are_not_changed_if_the_journal_cannot_be_written(
  music, tmp_path, monkeypatch
):
  def write(*args):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(TagJournal, 'write', write)
  with pytest.raises(DataError, match='No space left'):
    _tag(tmp_path)
  assert set(map(tuple, _genres(music).values())) == {()}


@pytest.mark.parametrize(
  'damage',
  [
    {'state': 'lost'},
    {'path': None},
    {'old': 'Polka'},
    {'old': [1]},
    {'old_id3v1': 256},
    {'id': '1'},
    {'genre': 7},
    {'field': 'title'},
    {'more': 1},
  ],
  ids=str,
)
def test_a_damaged_line_of_the_journal_is_reported(damage, music, tmp_path):
  assert _tag(tmp_path).tagged == 3
  journal = TagJournal(tmp_path / 'index')
  whole = journal.path.read_bytes()
  good = json.loads(whole.splitlines()[0])
  for line in ({**good, **damage}, {}, [good], list(damage)[0]):
    journal.path.write_text(json.dumps(line) + '\n')
    with pytest.raises(DataError, match='line 1 is damaged'):
      _undo(tmp_path)
  assert _genres(music)['a.flac'] == ['jazz']
  journal.path.write_bytes(whole + b'{"state": "be')  # as a killed process does
  assert _undo(tmp_path).restored == 3


def _run(tmp_path, *words, code=0):
  index = f'--index={tmp_path / "index"}'
  done = run_command('mgc_jax.collection', *words, index)
  assert done.returncode == code, done.stderr
  assert 'Traceback' not in done.stderr
  return done.stdout + done.stderr


def test_undo_changes_files_only_with_apply(music, tmp_path):
  output = _run(tmp_path, 'undo', code=2)
  assert 'tag changed no file' in output and '--to=DIR' in output
  _run(tmp_path, 'tag', '--apply')
  output = _run(tmp_path, 'undo')
  assert 'b.mp3: no genre (now jazz)' in output
  assert '3 to be restored: use --apply' in output
  _set_genres(tmp_path, music / 'a.flac', 'Bebop')
  output = _run(tmp_path, 'undo', '--apply', code=1)
  assert (
    '2 restored, 1 left unchanged' in output
    and 'a.flac: its genre tag' in output
  )


def _die(*args):
  raise KeyboardInterrupt


def test_recovery_updates_the_index_after_a_tag_was_written(
  music, tmp_path, monkeypatch
):
  """A process was killed after it replaced the file."""
  file = mutagen.File(music / 'a.flac')
  file.save(padding=lambda info: 0)  # so that a tag changes its size
  with Index(tmp_path / 'index') as index:
    index.touch(str(music / 'a.flac'), os.stat(music / 'a.flac'))
  with monkeypatch.context() as patched:
    patched.setattr(Index, 'touch', _die)
    with pytest.raises(KeyboardInterrupt):
      _tag(tmp_path)
  assert _genres(music)['a.flac'] == ['jazz']
  journal = TagJournal(tmp_path / 'index')
  # As older versions wrote it.
  old = journal.path.read_text().replace('"started"', '"begun"')
  assert '"begun"' in old
  journal.path.write_text(old)
  assert journal.unfinished() and _changed(tmp_path)
  with Index(tmp_path / 'index') as index:
    tagging.recover(index, journal)
  assert not journal.unfinished() and not _changed(tmp_path)
  assert _undo(tmp_path) == tagging.UndoCounts(1, 0)


def test_killed_tag_and_undo_commands_lose_nothing(tmp_path):
  folder = tmp_path / 'music'
  source = write_tone(folder / '000.flac', 0.5)
  with Index(tmp_path / 'index', create=True) as index:
    index.set_model('crnn', '0' * 64, ('jazz', 'rock'))
    for i in range(150):
      path = folder / f'{i:03}.flac'
      if i:
        shutil.copyfile(source, path)
      put(index, path, folder, genre='jazz')
  for i in range(0, 150, 3):
    _set_genres(tmp_path, folder / f'{i:03}.flac', 'Polka', str(i))
  before = _genres(folder)
  sound = {p: mutagen.File(p).info.md5_signature for p in folder.iterdir()}
  journal = TagJournal(tmp_path / 'index').path
  options = ['--apply', f'--index={tmp_path / "index"}']
  rng = np.random.default_rng(0)
  killed = 0
  for command in (['tag', '--replace'], ['undo'], ['tag', '--replace']):
    for _ in range(3):
      size = journal.stat().st_size if journal.exists() else 0
      wanted = size + 500 * rng.integers(1, 60)
      process = Process([*COMMAND, *command, *options])
      process.wait_for(
        lambda wanted=wanted: (
          journal.exists() and journal.stat().st_size >= wanted
        )
      )
      killed += not process.has_ended()
      process.kill() if not process.has_ended() else process.wait()
      for name, genres in _genres(folder).items():
        assert genres in (before[name], ['jazz'])
  assert killed >= 4
  _run(tmp_path, 'undo', '--apply')
  assert _genres(folder) == before
  assert {p: mutagen.File(p).info.md5_signature for p in sound} == sound
  assert len(list(folder.iterdir())) == 150  # no copy is left
  assert not _changed(tmp_path)


def test_grouping_and_genre_of_a_file_are_written_and_undone_apart(
  music, tmp_path
):
  path = str(music / 'b.mp3')
  tags.write(path, tags.Field(('loud',)), 'grouping')
  with Index(tmp_path / 'index') as index:
    index.touch(path, os.stat(path))
  assert _tag(tmp_path, field='grouping').tagged == 2
  assert _tag(tmp_path, field='grouping', replace=True).tagged == 1
  assert not any(_genres(music).values())
  assert _tag(tmp_path).tagged == 3
  assert tags.read(path, 'grouping').values == ('jazz',)
  tags.write(path, tags.Field(('mine',)), 'grouping')
  counts = _undo(tmp_path)
  assert (counts.restored, counts.failed) == (5, 1)
  assert tags.read(path, 'grouping').values == ('mine',)
  assert not any(_genres(music).values())


def test_a_journal_of_an_older_version_is_undone(music, tmp_path):
  _tag(tmp_path)
  journal = TagJournal(tmp_path / 'index').path
  lines = [json.loads(line) for line in journal.read_text().splitlines()]
  for line in lines:
    del line['field']
  journal.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  assert _undo(tmp_path).restored == 3


def test_the_command_writes_the_field_that_is_given(music, tmp_path):
  output = _run(tmp_path, 'tag', '--field=comment', '--apply')
  assert '0 have a comment' in output
  assert tags.read(str(music / 'a.flac'), 'comment').values == ('jazz',)


def test_what_is_not_music_gets_no_genre(music, tmp_path):
  path = write_tone(music / 'noise.flac', rate_hz=24000)
  with Index(tmp_path / 'index') as index:
    put(index, path, music, genre='not music')
  counts = _tag(tmp_path)
  assert (counts.tagged, counts.uncertain) == (3, 1)
  assert _genres(music)['noise.flac'] == []
