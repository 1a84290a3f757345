"""Runs one network in one framework, in a separate process.

Frameworks do not share a process, because an allocator and its settings apply
to a whole process. Requests and replies are lines of JSON.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.networks import batch_shape, network_config

# Module and class of each framework.
_PEERS = {
  'jax': ('jax_peer', 'JaxPeer'),
  'torch': ('torch_peer', 'TorchPeer'),
  'keras': ('keras_peer', 'KerasPeer'),
  'onnx': ('onnx_peer', 'OnnxPeer'),
}
_WARM_UP_CALLS = 4


class Worker:
  """Starts the process and sends requests to it."""

  def __init__(self, network: str, peer: str, toy: bool, **env: str):
    """Starts the process and waits until the network is built.

    Args:
      network: one of `networks.NAMES`.
      peer: framework and variant, such as torch/compile.
      toy: whether to make the network tiny.
      **env: environment variables of the process, such as an allocator's.

    Raises:
      RuntimeError: the process ended; its messages are on standard error.
    """
    self._name = f'{peer} of {network}'
    command = [sys.executable, '-m', 'benchmarks.worker', network, peer]
    self._process = subprocess.Popen(
      [*command, *['--toy'] * toy],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', **env},
      text=True,
    )
    self.num_params = self._reply()['num_params']

  def call(self, method: str, **kwargs: Any) -> Any:
    """Calls `train`, `infer`, `save` or `logits` of a `LocalWorker`."""
    line = json.dumps({'method': method, **kwargs})
    self._process.stdin.write(line + '\n')
    self._process.stdin.flush()
    return self._reply()

  def close(self) -> None:
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait(60)
    self._process.stdout.close()

  def _reply(self) -> Any:
    line = self._process.stdout.readline()
    if not line:
      code = self._process.wait(60)
      raise RuntimeError(f'{self._name} ended with exit code {code}')
    return json.loads(line)


class LocalWorker:
  """Has the interface of `Worker`, in this process."""

  def __init__(self, network: str, peer: str, toy: bool):
    """Builds the network; the arguments are those of `Worker`."""
    framework, _, variant = peer.partition('/')
    module, name = _PEERS[framework]
    made = getattr(importlib.import_module(f'benchmarks.peers.{module}'), name)
    config = network_config(network, toy)
    self._shape = batch_shape(config)
    self.peer = made(config, self._shape, variant)
    rng = np.random.default_rng(0)
    self._windows = rng.normal(size=self._shape).astype(np.float32)
    label = rng.integers(0, config.model.num_genres, self._shape[0])
    self._placed = self.peer.place(self._windows, label)
    self._warm: set[str] = set()

  @property
  def num_params(self) -> int:
    """The number of parameters of the network."""
    return self.peer.num_params

  def call(self, method: str, **kwargs: Any) -> Any:
    """Calls a method by name, like `Worker.call`."""
    return getattr(self, method)(**kwargs)

  def train(self, seconds: float) -> dict[str, Any]:
    """Times training steps; `windows_per_s` is that of the median step."""
    return self._time('train', self.peer.train_step, seconds)

  def infer(self, seconds: float) -> dict[str, Any]:
    """Times inference; `windows_per_s` is that of the median call."""
    return self._time('infer', self.peer.infer, seconds)

  def _time(self, name: str, function: Any, seconds: float) -> dict[str, Any]:
    if name not in self._warm:
      for _ in range(_WARM_UP_CALLS):
        function(self._placed)
        self.peer.wait()
      self._warm.add(name)
    found: list[float] = []
    while sum(found) < seconds or len(found) < 3:
      start_s = time.perf_counter()
      function(self._placed)
      self.peer.wait()
      found.append(time.perf_counter() - start_s)
    windows = self._shape[0] * self._shape[1]
    return {
      'windows_per_s': windows / float(np.median(found)),
      'peak_mib': _peak_mib(),
    }

  def save(self, path: str) -> dict[str, Any]:
    """Writes JAX's weights, for the other frameworks to load."""
    params, batch_stats = self.peer.weights()
    params = {f'params:{name}': x for name, x in params.items()}
    stats = {f'batch_stats:{name}': x for name, x in batch_stats.items()}
    np.savez(path, **params, **stats)
    return {}

  def logits(self, path: str | None) -> dict[str, Any]:
    """Returns the logits, with weights from a file if `path` is given."""
    if path:
      found: dict[str, dict] = {'params': {}, 'batch_stats': {}}
      with np.load(path) as file:
        for name, x in file.items():
          kind, _, name = name.partition(':')
          found[kind][name] = x
      self.peer.load(**found)
    return {'logits': self.peer.logits(self._windows).tolist()}


def _peak_mib() -> float:
  """Returns the peak resident size so far; 0 if not on Linux."""
  try:
    with open('/proc/self/status') as file:
      line = next(x for x in file if x.startswith('VmHWM:'))
  except OSError:
    return 0.0
  return int(line.split()[1]) / 1024


def main() -> None:
  """Handles requests until standard input ends."""
  network, peer, *toy = sys.argv[1:]
  # Replies go to standard output, what libraries print to standard error.
  replies = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  worker = LocalWorker(network, peer, bool(toy))
  print(json.dumps({'num_params': worker.num_params}), file=replies)
  replies.flush()
  for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(worker.call(**request)), file=replies, flush=True)


if __name__ == '__main__':
  main()
