"""What the page's server takes and what it does not: this machine's own.

Gradio fetches what a visitor names, where that is an address; here nobody's
address is fetched. A page of somebody else, open in the same browser, can reach
a server on loopback by a name of its own (DNS rebinding), so names are checked.
"""

# The extra need not be installed where types are checked. Where it is, its own
# marks leave out modules that it documents.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import pathlib
import re

import gradio as gr
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOSTS = (b'127.0.0.1', b'localhost')
# Of Gradio's addresses that name something else: only files, by their path.
_ELSEWHERE = re.compile(r'file=(?!/(?!/))|proxy=')
# Whatever the page or a library of it names, browsers ask this host only.
_POLICY = (
  "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' "
  "'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'"
)


def fetch_nothing(component: gr.components.Component) -> None:
  """Makes a component refuse addresses, which Gradio would fetch.

  Args:
    component: of the page. (Gradio writes a file beside the module of a class
      that is made from one of its own, so there is none.)
  """
  keep = component.async_move_resource_to_block_cache

  async def keep_files_only(
    url_or_file_path: str | pathlib.Path | None,
  ) -> str | None:
    if isinstance(url_or_file_path, str) and '://' in url_or_file_path:
      raise gr.Error('only what is uploaded here is answered')
    return await keep(url_or_file_path)

  component.async_move_resource_to_block_cache = keep_files_only


def guard(max_bytes: int) -> Middleware:
  """Returns what stands before the server.

  Args:
    max_bytes: of a file; a request is refused where it is over twice as large,
      or does not say how large it is.
  """
  return Middleware(_Guard, max_bytes=2 * max_bytes)


class _Guard:
  """Refuses other hosts and what is too large; adds the policy to answers."""

  def __init__(self, app: ASGIApp, max_bytes: int):
    self._app, self._max_bytes = app, max_bytes

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    async def send_with_policy(message: Message) -> None:
      if message['type'] == 'http.response.start':
        header = (b'content-security-policy', _POLICY.encode())
        message['headers'] = [*message.get('headers', []), header]
      await send(message)

    refusal = self._refusal(scope) if scope['type'] == 'http' else None
    app = refusal or self._app
    await app(scope, receive, send_with_policy)

  def _refusal(self, scope: Scope) -> PlainTextResponse | None:
    headers = dict(scope['headers'])
    if headers.get(b'host', b'').split(b':')[0] not in _HOSTS:
      return PlainTextResponse('this page is of 127.0.0.1 only', 403)
    if _ELSEWHERE.search(scope['path']):
      return PlainTextResponse('only what is uploaded here is served', 403)
    if scope['method'] == 'POST':
      size = headers.get(b'content-length', b'')
      if not size.isdigit():
        return PlainTextResponse('the length is missing', 411)
      if int(size) > self._max_bytes:
        return PlainTextResponse('too large', 413)
    return None
