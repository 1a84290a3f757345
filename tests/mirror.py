"""A mirror on loopback, with a fault that the address asks for."""

import contextlib
import http.server
import os
import threading
import time

SIZE = 700_000
CONTENT = os.urandom(SIZE)


class Mirror(http.server.BaseHTTPRequestHandler):
  """Serves `server.content`, with a fault that the path begins with."""

  protocol_version = 'HTTP/1.1'

  def log_message(self, *args):
    pass

  def do_GET(self):
    fault = self.path.split('/')[1]
    count = self.server.asked.setdefault(self.path, [])
    count.append(self.headers.get('Range'))
    if fault == 'missing':
      return self.send_error(404)
    if fault in ('file', 'ftp', 'self'):
      targets = {'file': 'file:///etc/passwd', 'ftp': 'ftp://h/x'}
      return self._redirect(targets.get(fault, self.path))
    if fault == 'moved':
      return self._redirect('/good/archive')
    content = self.server.content
    if fault == 'wrong':
      content = content[::-1]
    start = 0
    if self.headers.get('Range') and fault != 'norange':
      start = int(self.headers['Range'][len('bytes=') : -1])
    if start and start >= len(content):
      self.send_response(416)
      self.send_header('Content-Range', f'bytes */{len(content)}')
      self.send_header('Content-Length', '0')
      return self.end_headers()
    self.send_response(206 if start else 200)
    if start:
      place = 0 if fault == 'otherrange' else start
      self.send_header(
        'Content-Range', f'bytes {place}-{len(content) - 1}/{len(content)}'
      )
    rest = content[start:]
    if fault != 'endless':
      self.send_header('Content-Length', str(len(rest)))
    self.end_headers()
    if fault == 'cut' or (fault == 'cutonce' and len(count) == 1):
      rest = rest[:300_000] if len(count) < 3 else rest[:0]
    if fault == 'silent':
      self.wfile.write(rest[:1000])
      time.sleep(3)
      rest = b''
    if fault == 'endless':
      rest = rest * 3
    if fault == 'slow':
      for i in range(0, len(rest), 100_000):
        self.wfile.write(rest[i : i + 100_000])
        self.wfile.flush()
        time.sleep(0.05)
    else:
      self.wfile.write(rest)
    self.close_connection = True
    return None

  def _redirect(self, target):
    self.send_response(302)
    self.send_header('Location', target)
    self.send_header('Content-Length', '0')
    self.end_headers()


@contextlib.contextmanager
def serve():
  """Yields a server, with what it was `asked` for and its `content`."""
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Mirror)
  server.asked, server.content = {}, CONTENT
  threading.Thread(target=server.serve_forever, daemon=True).start()
  try:
    yield server
  finally:
    server.shutdown()
    server.server_close()
