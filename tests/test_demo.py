"""The web page in a real browser; needs gradio, chromium and selenium."""

import base64
import contextlib
import errno
import http.client
import importlib.util
import json
import os
import pathlib
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

# Not `importorskip`, as every worker of pytest would spend seconds on it.
if importlib.util.find_spec('gradio') is None:
  pytest.skip('no gradio', allow_module_level=True)
pytestmark = pytest.mark.slow
webdriver = pytest.importorskip('selenium.webdriver')
_CHROMIUM, _DRIVER = shutil.which('chromium'), shutil.which('chromedriver')
if not (_CHROMIUM and _DRIVER):
  pytest.skip('no chromium, chromium-driver', allow_module_level=True)

_WIDTH, _HEIGHT = 1000, 1100
_INPUT = 'input[type=file][multiple]'


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


@pytest.fixture(scope='module')
def opened_browser():
  opened = _open_browser()
  yield opened
  opened.quit()


@pytest.fixture
def browser(opened_browser):
  """The browser of this module, as it was at first."""
  opened_browser.set_window_size(_WIDTH, _HEIGHT)
  opened_browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': []})
  return opened_browser


def _find(browser, selector, timeout_s=60.0):
  end_s = time.monotonic() + timeout_s
  while time.monotonic() < end_s:
    found = browser.find_elements('css selector', selector)
    if found:
      return found[0]
    time.sleep(0.1)
  raise AssertionError(f'{selector}: not on the page: {_text(browser)}')


def _wait(condition, timeout_s=30.0):
  end_s = time.monotonic() + timeout_s
  while not condition():
    assert time.monotonic() < end_s
    time.sleep(0.1)


def _similar(browser):
  return browser.find_elements('css selector', '#similar label')


def _player(browser, value):
  return browser.execute_script(
    f'return document.querySelector("#song audio").{value}'
  )


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
  _find(browser, _INPUT).send_keys(str(music / '1.mp3'))
  headline = _find(browser, '#prediction h2').text
  assert re.search(r'[\w ]+ \d+%', headline)
  assert _find(browser, '.mgc-name').text == '1.mp3'
  _wait(lambda: len(_similar(browser)) == 2)  # of three, one is this song
  assert all(
    re.match(r'[02]\.mp3 \([\w ]+\)', one.text) for one in _similar(browser)
  )
  bars = browser.find_elements('css selector', '.mgc-bars li')
  assert len(bars) == 7 and bars[-1].text.startswith('others')
  play = 'const a = document.querySelector("#song audio"); a.muted = true;'
  browser.execute_script(f'{play} a.play()')
  where = 'return document.querySelector(".mgc-cursor").style.left'
  _wait(lambda: browser.execute_script(where) not in ('', '0%'))
  assert re.fullmatch(r'0:\d\d: [\w ]+ \d+%', _find(browser, '.mgc-now').text)
  times = _find(browser, '.mgc-axis').text.split()
  assert times == ['0:00', '0:02', '0:04', '0:06', '0:08', '0:10']
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
    ('long.mp3', 90.0, 'long.mp3: too long: over 1 min'),
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
  _find(browser, _INPUT).send_keys(str(path))
  message = _find(browser, '#prediction [role=alert]').text
  assert re.match(expected, message)
  assert not browser.find_elements(
    'css selector', '#prediction h2, #prediction b'
  )
  assert not _similar(browser)


def test_a_large_upload_is_rejected(browser, address, tmp_path):
  (tmp_path / 'big.mp3').write_bytes(bytes(3_000_000))
  browser.get(address)
  _find(browser, _INPUT).send_keys(str(tmp_path / 'big.mp3'))
  end_s = time.monotonic() + 20
  while 'exceed the maximum allowed size' not in _text(browser):
    assert time.monotonic() < end_s, _text(browser)
    time.sleep(0.1)


def test_two_visitors_get_their_own_predictions(browser, address, music):
  other = _open_browser()
  try:
    for one in (browser, other):
      one.get(address)
      _find(one, _INPUT)
    for i, one in enumerate((browser, other)):
      one.find_element('css selector', _INPUT).send_keys(
        str(music / f'{2 * i}.mp3')
      )
    for i, one in enumerate((browser, other)):
      assert '%' in _find(one, '#prediction h2').text
      assert _find(one, '.mgc-name').text == f'{2 * i}.mp3'
  finally:
    other.quit()


def test_the_page_works_with_a_keyboard_and_on_a_phone(browser, address, music):
  browser.get(address)
  _find(browser, _INPUT)
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
  _find(browser, _INPUT).send_keys(str(music / '1.mp3'))
  _find(browser, '#prediction h2')
  width = 'return document.documentElement.scrollWidth'
  assert browser.execute_script(width) <= 390


def test_several_songs_are_a_list_and_a_drop_replaces_them(
  browser, address, music
):
  browser.get(address)
  paths = [str(music / name) for name in ('1.mp3', '0.mp3')]
  _find(browser, _INPUT).send_keys('\n'.join(paths))
  _wait(lambda: _find(browser, '.mgc-name').text == '1.mp3')
  songs = browser.find_elements('css selector', '#songs label')
  assert [one.text for one in songs] == ['1.mp3', '0.mp3']
  songs[1].click()
  _wait(lambda: _find(browser, '.mgc-name').text == '0.mp3')
  _drop(browser, music / '2.mp3')
  _wait(lambda: _find(browser, '.mgc-name').text == '2.mp3')
  shown = browser.find_elements('css selector', '#songs label')
  assert not any(one.is_displayed() for one in shown)


def _drop(browser, path):
  """Drops a file on the text of the page, as a file manager does."""
  content = base64.b64encode(path.read_bytes()).decode()
  browser.execute_script(
    'const bytes = Uint8Array.from(atob(arguments[0]), x => x.charCodeAt(0));'
    'const data = new DataTransfer();'
    'data.items.add(new File([bytes], arguments[1], {type: "audio/mpeg"}));'
    'for (const type of ["dragover", "drop"]) {'
    '  document.querySelector("h1").dispatchEvent(new DragEvent(type,'
    '    {dataTransfer: data, bubbles: true, cancelable: true}));'
    '}',
    content,
    path.name,
  )


def test_similar_songs_are_played_and_the_example_needs_no_file(
  browser, address
):
  browser.get(address)
  _find(browser, '#example').click()
  assert '%' in _find(browser, '#prediction h2').text
  assert _find(browser, '.mgc-name').text == 'example.wav'
  _wait(lambda: len(_similar(browser)) == 3)
  _similar(browser)[0].click()
  name = _similar(browser)[0].text.split()[0]
  _find(browser, '#other audio')
  source = 'return document.querySelector("#other audio").currentSrc'
  _wait(lambda: browser.execute_script(source).endswith(name))
  ready = 'return document.querySelector("#other audio").readyState'
  _wait(lambda: browser.execute_script(ready) >= 2)


def test_another_model_answers_if_it_is_chosen(browser, address, music):
  browser.get(address)
  _find(browser, _INPUT).send_keys(str(music / '1.mp3'))
  _find(browser, '#prediction h2')
  _find(browser, '#model input').click()

  def options():
    return browser.find_elements('css selector', '[role=option]')

  names = ['tags', 'cnn', 'lstm', 'crnn']
  wanted = [[name] for name in names]
  _wait(lambda: [x.text.split()[-1:] for x in options()] == wanted)
  options()[1].click()
  _wait(lambda: 'The model cnn distinguishes' in _text(browser))
  _wait(lambda: not _similar(browser))  # the index is of another model


def test_the_picture_is_a_slider_for_keyboard_and_pointer(
  browser, address, music
):
  browser.get(address)
  _find(browser, _INPUT).send_keys(str(music / '1.mp3'))
  picture = _find(browser, '.mgc-picture')
  _wait(lambda: browser.execute_script(_IS_READY))
  picture.send_keys('\ue014')  # right
  _wait(lambda: _player(browser, 'currentTime') == pytest.approx(5, abs=0.1))
  _wait(lambda: picture.get_attribute('aria-valuetext').startswith('0:05: '))
  picture.send_keys('\ue011')  # home
  _wait(lambda: _player(browser, 'currentTime') == 0)
  picture.click()  # in its middle
  _wait(lambda: _player(browser, 'currentTime') == pytest.approx(6, abs=0.2))
  assert picture.value_of_css_property('cursor') == 'pointer'


_IS_READY = 'return document.querySelector("#song audio")?.duration > 1'


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_axe_finds_no_violation(width, scheme, browser, address, music):
  axe = importlib.util.find_spec('axe_playwright_python')
  if not axe:
    pytest.skip('no axe-playwright-python')
  (folder,) = axe.submodule_search_locations
  feature = {'name': 'prefers-color-scheme', 'value': scheme}
  browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [feature]})
  browser.set_window_size(width, 1000)
  browser.get(address)
  paths = [str(music / name) for name in ('1.mp3', '0.mp3')]
  _find(browser, _INPUT).send_keys('\n'.join(paths))
  _find(browser, '#prediction h2')
  _wait(lambda: len(_similar(browser)) == 2)
  picture = _find(browser, '.mgc-picture img')
  assert picture.size['height'] >= 240  # half of it has the genres
  dark = browser.execute_script(
    'return document.body.classList.contains("dark")'
  )
  assert dark == (scheme == 'dark')
  time.sleep(1)  # colours fade in
  browser.execute_script(pathlib.Path(folder, 'axe.min.js').read_text())
  found = browser.execute_async_script(
    'const done = arguments[0]; axe.run().then(x => done(x.violations))'
  )
  assert [(one['id'], one['nodes'][0]['html']) for one in found] == []


def test_a_port_that_is_in_use_is_reported():
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = taken.getsockname()[1]
    done = subprocess.run(
      [sys.executable, '-m', 'mgc_jax.demo', f'--port={port}'],
      capture_output=True,
      text=True,
      env=environment(),
    )
  assert done.returncode == 2
  assert f'--port={port}: {os.strerror(errno.EADDRINUSE)}; use' in done.stderr
  assert 'Traceback' not in done.stderr


def _ask(address, path, method='GET', body=None, **headers):
  """Returns the status and the beginning of the text of a response."""
  connection = http.client.HTTPConnection(address.split('/')[2], timeout=30)
  with contextlib.closing(connection):
    connection.request(method, path, body, headers)
    with connection.getresponse() as response:
      return response.status, response.read(1_000_000).decode()


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


@pytest.mark.parametrize('name', ['take', 'classify'])
def test_a_url_instead_of_a_song_is_not_fetched(name, address):
  song = {
    'path': 'http://192.0.2.1/x.mp3',
    'meta': {'_type': 'gradio.FileData'},
  }
  numbers = [
    x['id']
    for x in json.loads(_ask(address, '/config')[1])['dependencies']
    if x['api_name'].startswith(name)
  ]
  data = [[song]] if name == 'take' else [song, 'tags']
  for number in numbers:
    body = {'data': data, 'fn_index': number, 'session_hash': f'{name}{number}'}
    kind = {'Content-Type': 'application/json'}
    join = '/gradio_api/queue/join', 'POST', json.dumps(body)
    assert _ask(address, *join, **kind)[0] == 200
    wait = f'/gradio_api/queue/data?session_hash={name}{number}'
    assert (
      'only uploaded files are accepted, not URLs' in _ask(address, wait)[1]
    )
  assert numbers


def test_a_song_that_is_not_in_the_list_is_not_served(address):
  """A visitor may send any value; paths stay on the server."""
  dependencies = json.loads(_ask(address, '/config')[1])['dependencies']
  numbers = [
    x['id']
    for x in dependencies
    if x['api_name'].startswith(('choose', 'play'))
  ]
  assert len(numbers) == 2
  for number in numbers:
    for value in ('/etc/passwd', '7', '-1'):
      session = f'x{number}{len(value)}'
      body = {
        'data': [value, None],
        'fn_index': number,
        'session_hash': session,
      }
      kind = {'Content-Type': 'application/json'}
      join = '/gradio_api/queue/join', 'POST', json.dumps(body)
      assert _ask(address, *join, **kind)[0] == 200
      wait = f'/gradio_api/queue/data?session_hash={session}'
      output = _ask(address, wait)[1]
      assert '"success": false' in output or '"success":false' in output, output


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
