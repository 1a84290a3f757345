"""The web page in a real browser; needs gradio, chromium and selenium."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests import pages
from tests.conftest import write_tone
from tests.processes import ROOT, Process, environment

pytest.importorskip('gradio')
pytestmark = pytest.mark.slow
webdriver = pytest.importorskip('selenium.webdriver')
_CHROMIUM, _DRIVER = shutil.which('chromium'), shutil.which('chromedriver')
if not (_CHROMIUM and _DRIVER):
  pytest.skip('no chromium, chromium-driver', allow_module_level=True)

_WIDTH, _HEIGHT = 1000, 1100


@pytest.fixture(scope='module')
def music(tmp_path_factory):
  folder = tmp_path_factory.mktemp('music')
  for i in range(3):
    write_tone(folder / f'{i}.mp3', 12.0, 22050, frequency_hz=300.0 + 90 * i)
  return folder


@pytest.fixture(scope='module')
def index(music, tmp_path_factory):
  path = tmp_path_factory.mktemp('index') / 'index.sqlite'
  command = [sys.executable, '-m', 'mgc_jax.collection', 'index', str(music)]
  subprocess.run([*command, f'--index={path}'], check=True, env=environment())
  return path


@pytest.fixture(scope='module')
def address(index):
  command = [sys.executable, '-m', 'mgc_jax.demo', '--port=0']
  limits = ['--max_minutes=1', '--max_megabytes=2']
  process = Process([*command, *limits, f'--index={index}'])
  process.wait_for(lambda: 'is open' in process.output)
  yield re.search(r'http://\S+', process.output)[0]
  process.kill()


def _open_browser():
  options = webdriver.ChromeOptions()
  options.binary_location = _CHROMIUM
  for word in (
    'headless=new',
    'no-sandbox',
    'disable-dev-shm-usage',
    f'window-size={_WIDTH},{_HEIGHT}',
    'autoplay-policy=no-user-gesture-required',
    'use-fake-device-for-media-stream',  # a microphone that records beeps
    'use-fake-ui-for-media-stream',
  ):
    options.add_argument(f'--{word}')
  options.set_capability('goog:loggingPrefs', {'performance': 'ALL'})
  service = webdriver.ChromeService(_DRIVER)
  return webdriver.Chrome(options=options, service=service)


@pytest.fixture
def browser():
  opened = _open_browser()
  yield opened
  opened.quit()


def _find(browser, selector, timeout_s=60.0):
  end_s = time.monotonic() + timeout_s
  while time.monotonic() < end_s:
    found = browser.find_elements('css selector', selector)
    if found:
      return found[0]
    time.sleep(0.1)
  raise AssertionError(f'{selector}: not on the page: {_text(browser)}')


def _text(browser):
  return browser.find_element('css selector', 'body').text


def _hosts(browser):
  """Returns the hosts to which the browser sent requests."""
  found = set()
  for line in browser.get_log('performance'):
    message = json.loads(line['message'])['message']
    if message['method'] == 'Network.requestWillBeSent':
      url = urllib.request.urlparse(message['params']['request']['url'])
      found.add(url.hostname if url.scheme in ('http', 'https', 'ws') else None)
  return found - {None}


def test_an_uploaded_song_gets_a_prediction(browser, address, music):
  browser.get(address)
  _find(browser, 'input[type=file]').send_keys(str(music / '1.mp3'))
  headline = _find(browser, '#prediction h2').text
  assert re.search(r'[\w ]+ \d+%', headline)
  similar = browser.find_elements('css selector', '#prediction li')
  assert len(similar) == 2  # the index has three songs, one of them this one
  assert all(re.match(r'[02]\.mp3 \([\w ]+\)', item.text) for item in similar)
  play = 'const a = document.querySelector("#song audio"); a.muted = true;'
  browser.execute_script(f'{play} a.play()')
  where = 'return document.querySelector(".mgc-cursor").style.left'
  end_s = time.monotonic() + 20
  while browser.execute_script(where) in ('', '0%'):
    assert time.monotonic() < end_s, 'the line does not follow the player'
    time.sleep(0.1)
  assert _hosts(browser) == {'127.0.0.1'}
  assert '/tmp' not in _text(browser) and str(music) not in _text(browser)


def test_a_recording_gets_a_prediction(browser, address):
  browser.get(address)
  _find(browser, '#song button[aria-label="Record audio"]').click()
  _find(browser, '#song button.record').click()
  time.sleep(3)  # of beeps
  end_s = time.monotonic() + 30
  while time.monotonic() < end_s:
    stop = browser.find_elements('css selector', '#song button.stop-button')
    shown = [button for button in stop if button.is_displayed()]
    if shown:
      shown[0].click()
      break
    time.sleep(0.1)
  assert '%' in _find(browser, '#prediction h2').text


@pytest.mark.parametrize(
  ('name', 'seconds', 'expected'),
  [
    ('text.mp3', None, 'text.mp3: not audio'),
    ('long.mp3', 90.0, 'long.mp3: too long: over 1 minutes'),
    ('short.wav', 0.5, 'short.wav: too short: 0.50 s'),
    ('<b>.wav', 0.5, '<b>.wav: too short|b.wav: too short'),
  ],
)
def test_invalid_input_gets_one_clear_message(
  browser, address, tmp_path, name, seconds, expected
):
  path = tmp_path / name
  if seconds:
    write_tone(path, seconds, 22050)
  else:
    path.write_text('no music\n' * 99)
  browser.get(address)
  _find(browser, 'input[type=file]').send_keys(str(path))
  message = _find(browser, '#prediction [role=alert]').text
  assert re.match(expected, message)
  assert not browser.find_elements(
    'css selector', '#prediction h2, #prediction b'
  )


def test_a_large_upload_is_rejected(browser, address, tmp_path):
  (tmp_path / 'big.mp3').write_bytes(bytes(3_000_000))
  browser.get(address)
  _find(browser, 'input[type=file]').send_keys(str(tmp_path / 'big.mp3'))
  end_s = time.monotonic() + 20
  while 'exceed the maximum allowed size' not in _text(browser):
    assert time.monotonic() < end_s, _text(browser)
    time.sleep(0.1)


def test_two_visitors_get_their_own_predictions(browser, address, music):
  other = _open_browser()
  try:
    for one in (browser, other):
      one.get(address)
      _find(one, 'input[type=file]')
    for i, one in enumerate((browser, other)):
      one.find_element('css selector', 'input[type=file]').send_keys(
        str(music / f'{2 * i}.mp3')
      )
    for i, one in enumerate((browser, other)):
      assert '%' in _find(one, '#prediction h2').text
      assert f'{2 * i}.mp3' not in _find(one, '#prediction ol').text
  finally:
    other.quit()


def test_the_page_works_with_a_keyboard_and_on_a_phone(browser, address, music):
  browser.get(address)
  _find(browser, 'input[type=file]')
  reached = set()
  for _ in range(12):
    browser.switch_to.active_element.send_keys('\ue004')  # Tab
    reached.add(
      browser.execute_script(
        'const e = document.activeElement;'
        'return e.closest("#song") ? e.tagName : ""'
      )
    )
  assert 'BUTTON' in reached
  browser.set_window_size(390, 800)
  _find(browser, 'input[type=file]').send_keys(str(music / '1.mp3'))
  _find(browser, '#prediction h2')
  width = 'return document.documentElement.scrollWidth'
  assert browser.execute_script(width) <= 390


def test_a_port_that_is_in_use_is_reported():
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = taken.getsockname()[1]
    done = subprocess.run(
      [sys.executable, '-m', 'mgc_jax.demo', f'--port={port}'],
      capture_output=True,
      text=True,
      env=environment(),
    )
  assert done.returncode == 2 and f'--port={port}: ' in done.stderr
  assert 'Traceback' not in done.stderr


def _ask(address, path, method='GET', body=None, **headers):
  """Returns the status and the beginning of the text of a response."""
  connection = http.client.HTTPConnection(address.split('/')[2], timeout=30)
  with contextlib.closing(connection):
    connection.request(method, path, body, headers)
    with connection.getresponse() as response:
      return response.status, response.read(10_000).decode()


@pytest.mark.parametrize(
  ('status', 'request_'),
  [
    (200, {'path': '/config'}),
    (403, {'path': '/config', 'Host': 'evil.example'}),
    (403, {'path': '/gradio_api/file=http://evil.example/x.mp3'}),
    (403, {'path': '/gradio_api/file%3Dhttp%3A//evil.example/x.mp3'}),
    (403, {'path': '/gradio_api/proxy=https://evil.example/x.mp3'}),
    (413, {'path': '/gradio_api/upload', 'body': bytes(5_000_000)}),
  ],
)
def test_other_hosts_and_large_requests_are_rejected(address, status, request_):
  method = 'POST' if 'body' in request_ else 'GET'
  assert _ask(address, method=method, **request_)[0] == status


def test_a_url_instead_of_a_song_is_not_fetched(address):
  song = {
    'path': 'http://192.0.2.1/x.mp3',
    'meta': {'_type': 'gradio.FileData'},
  }
  (number,) = [
    x['id'] for x in json.loads(_ask(address, '/config')[1])['dependencies']
  ]
  body = {'data': [song], 'fn_index': number, 'session_hash': 'abc'}
  kind = {'Content-Type': 'application/json'}
  join = '/gradio_api/queue/join', 'POST', json.dumps(body)
  assert _ask(address, *join, **kind)[0] == 200
  output = _ask(address, '/gradio_api/queue/data?session_hash=abc')[1]
  assert 'only uploaded files are accepted, not URLs' in output


def test_the_documented_commands_open_the_page(index, tmp_path):
  (tmp_path / 'runs').mkdir()
  (tmp_path / 'runs' / 'mine').symlink_to(
    ROOT / 'mgc_jax/inference/pretrained/crnn'
  )
  (tmp_path / 'runs' / 'index.sqlite').symlink_to(index)
  found = [
    command.split(' && ')[-1]
    for page in (ROOT / 'README.md', ROOT / 'docs' / 'TUTORIAL.md')
    for _, text in pages.BLOCK.findall(page.read_text())
    for command in pages.commands(text)
    if 'mgc demo' in command
  ]
  assert len(found) == 2
  for command in found:
    (tmp_path / 'tmp').mkdir()
    process = Process(
      ['bash', '-c', f'exec {command} --port=0'],
      tmp_path,
      TMPDIR=tmp_path / 'tmp',
    )
    process.wait_for(lambda process=process: 'is open' in process.output)
    assert list((tmp_path / 'tmp').glob('mgc_jax-*'))
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 0, process.output
    assert not list((tmp_path / 'tmp').iterdir())
    (tmp_path / 'tmp').rmdir()
