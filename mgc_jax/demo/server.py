"""Restricts what the page's server accepts and fetches.

If a visitor submits a URL, Gradio fetches it; here URLs are rejected. A foreign
page in the same browser can reach a server on loopback through a host name of
its own (DNS rebinding), so host names are checked.
"""

# The type checker may run without the optional dependencies. Gradio does not
# export all the modules that it documents.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import pathlib
import re

import gradio as gr
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOSTS = (b'127.0.0.1', b'localhost')
# Gradio paths that refer to another server: proxies, and files that are not
# given by an absolute local path.
_REMOTE = re.compile(r'file=(?!/(?!/))|proxy=')
# Browsers load nothing from other hosts, even if a library's code asks for it.
_POLICY = (
  "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' "
  "'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'"
)


def reject_urls(component: gr.components.Component) -> None:
  """Makes a component reject URLs, which Gradio would fetch.

  Args:
    component: is modified in place. (A subclass would not do: Gradio writes a
      file beside the module of any class derived from its components.)
  """
  move = component.async_move_resource_to_block_cache

  async def move_files_only(
    url_or_file_path: str | pathlib.Path | None,
  ) -> str | None:
    if isinstance(url_or_file_path, str) and '://' in url_or_file_path:
      raise gr.Error('only uploaded files are accepted, not URLs')
    return await move(url_or_file_path)

  component.async_move_resource_to_block_cache = move_files_only


def guard(max_bytes: int) -> Middleware:
  """Returns middleware that checks every request.

  Args:
    max_bytes: the largest file. A request that is more than twice as large, or
      does not state its length, is rejected.
  """
  return Middleware(_Guard, max_bytes=2 * max_bytes)


class _Guard:
  """Rejects foreign hosts and large requests; adds a policy to responses."""

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
      return PlainTextResponse('only the host 127.0.0.1 is served', 403)
    if _REMOTE.search(scope['path']):
      return PlainTextResponse('only uploaded files are served', 403)
    if scope['method'] == 'POST':
      size = headers.get(b'content-length', b'')
      if not size.isdigit():
        return PlainTextResponse('the content length is missing', 411)
      if int(size) > self._max_bytes:
        return PlainTextResponse('the request is too large', 413)
    return None
