import hashlib

import pytest

from mgc_jax.datasets.published.download import Archive, download
from mgc_jax.system.errors import DataError
from tests.mirror import CONTENT, SIZE


def _archive(mirror, *faults, digest=None, size=SIZE):
  port = mirror.server_address[1]
  digest = hashlib.sha1(CONTENT).hexdigest() if digest is None else digest
  return Archive(
    'a.zip',
    tuple(f'http://127.0.0.1:{port}/{fault}/archive' for fault in faults),
    'sha1',
    digest,
    size,
  )


def _download(archive, folder):
  return download(archive, folder, timeout_s=0.5, wait_s=0.01)


@pytest.mark.parametrize('fault', ['good', 'slow', 'moved', 'cutonce'])
def test_file_is_downloaded_completely(fault, mirror, tmp_path):
  path = _download(_archive(mirror, fault), tmp_path)
  assert path == tmp_path / 'a.zip' and path.read_bytes() == CONTENT
  assert list(tmp_path.iterdir()) == [path]


def test_interrupted_connection_is_resumed(mirror, tmp_path):
  _download(_archive(mirror, 'cutonce'), tmp_path)
  ranges = mirror.asked['/cutonce/archive']
  assert ranges[0] is None and len(ranges) == 2
  assert int(ranges[1][len('bytes=') : -1]) > 0


@pytest.mark.parametrize('offset', [1, 350_000, len(CONTENT)])
def test_partial_file_is_resumed(offset, mirror, tmp_path):
  (tmp_path / 'a.zip.partial').write_bytes(CONTENT[:offset])
  path = _download(_archive(mirror, 'good'), tmp_path)
  assert path.read_bytes() == CONTENT
  assert mirror.asked['/good/archive'] == [f'bytes={offset}-']


def test_server_without_ranges_sends_everything_again(mirror, tmp_path):
  (tmp_path / 'a.zip.partial').write_bytes(b'x' * 350_000)
  path = _download(_archive(mirror, 'norange'), tmp_path)
  assert path.read_bytes() == CONTENT


def test_existing_file_is_not_requested(mirror, tmp_path):
  archive = _archive(mirror, 'good')
  _download(archive, tmp_path)
  _download(archive, tmp_path)
  assert len(mirror.asked['/good/archive']) == 1


@pytest.mark.parametrize(
  ('fault', 'reason'),
  [
    ('missing', 'status 404'),
    ('wrong', 'wrong bytes: sha1'),
    ('cut', 'times at byte'),
    ('silent', 'times at byte'),
    ('endless', 'sends more than 700,000 bytes'),
    ('file', 'redirects from http to file:///etc/passwd; rejected'),
    ('ftp', 'redirects from http to ftp://h/x; rejected'),
    ('self', 'more than 10 redirects'),
  ],
)
def test_failing_mirror_is_reported_and_the_next_one_used(
  fault, reason, mirror, tmp_path
):
  with pytest.raises(DataError, match=reason) as raised:
    _download(_archive(mirror, fault), tmp_path)
  assert f'/{fault}/archive: ' in str(raised.value)
  assert not (tmp_path / 'a.zip').exists()
  path = _download(_archive(mirror, fault, 'good'), tmp_path)
  assert path.read_bytes() == CONTENT


def test_bytes_from_another_offset_are_not_appended(mirror, tmp_path):
  (tmp_path / 'a.zip.partial').write_bytes(CONTENT[:1000])
  with pytest.raises(DataError, match='sends bytes 0-'):
    _download(_archive(mirror, 'otherrange'), tmp_path)


def test_partial_file_with_other_content_is_discarded(mirror, tmp_path):
  (tmp_path / 'a.zip.partial').write_bytes(b'x' * 1000)
  with pytest.raises(DataError, match='wrong bytes'):
    _download(_archive(mirror, 'good'), tmp_path)
  assert _download(_archive(mirror, 'good'), tmp_path).read_bytes() == CONTENT


def test_size_is_checked_without_a_digest_and_warns(mirror, tmp_path, caplog):
  _download(_archive(mirror, 'good', digest=''), tmp_path)
  assert 'no digest is known; only its size' in caplog.text
  (tmp_path / 'a.zip').unlink()
  with pytest.raises(DataError, match='700,000 bytes, not 700,001'):
    _download(_archive(mirror, 'good', digest='', size=700_001), tmp_path)


def test_unreachable_mirror_raises(tmp_path):
  archive = Archive('a.zip', ('http://127.0.0.1:9/x',), 'sha1', 'x', 1)
  with pytest.raises(DataError, match='no connection .* 4 times at byte 0'):
    _download(archive, tmp_path)
