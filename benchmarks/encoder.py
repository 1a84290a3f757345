"""Compares the encoder (musicnn) with the same network in PyTorch.

Before the measurement, it checks that the outputs are equal. `pruned` is the
network that the package uses, without the filters whose kernels are zero;
`published` has all of them. On CPU, PyTorch uses as many threads as JAX, and
onnxruntime and OpenVINO are timed if they are installed.

  python -m benchmarks.encoder
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  seconds_of,
  set_up_beside_torch,
  spread,
  write_results,
)
from mgc_jax.inference.onnx_model.runtimes import (
  RUNTIMES,
  Runtime,
  is_installed,
  open_graph,
)
from mgc_jax.models.musicnn import Musicnn

_WINDOW_SHAPE = (187, 96)  # frames, mel bands
_TOLERANCE = {'cpu': 1e-4, 'gpu': 2e-2}  # a GPU rounds operands to 10 bits


def compare(
  batch_size: int, compiled: bool, num_rounds: int, at_least_s: float
) -> dict[str, Any]:
  """Times inference, alternating frameworks.

  Args:
    batch_size: windows per call.
    compiled: whether torch.compile is timed as well.
    num_rounds: how often each variant is measured.
    at_least_s: the minimum duration of a measurement.

  Returns:
    `windows_per_s` of each variant, and `ratio` of ours to each of the others.

  Raises:
    ValueError: the frameworks' outputs differ.
  """
  shape = (batch_size, *_WINDOW_SHAPE)
  windows = np.random.default_rng(0).random(shape, np.float32) * 4
  variants = {
    **_jax_variants(windows),
    **_onnx_variants(windows),
    **_torch_variants(windows, compiled),
  }
  names = list(variants)
  expected = variants['jax/pruned'][2]()
  for name in names:
    error = np.abs(variants[name][2]() - expected).max()
    if error > _TOLERANCE.get(jax.default_backend(), 2e-2):
      raise ValueError(f'{name}: features differ by {error:.2g}')

  def measure(name: str) -> float:
    call, wait, _ = variants[name]
    return batch_size / seconds_of(call, wait, at_least_s)

  calls = {name: functools.partial(measure, name) for name in names}
  in_turn(calls, 1)  # compile
  speeds = in_turn(calls, num_rounds)
  ratios = {
    name: ratio(speeds['jax/pruned'], speeds[name])
    for name in names
    if name != 'jax/pruned'
  }
  print(
    f'encoder, batch {batch_size}: {np.median(speeds["jax/pruned"]):.0f} '
    'windows/s; '
    + ', '.join(f'{format_ratio(x)} {name}' for name, x in ratios.items()),
    flush=True,
  )
  return {
    'windows_per_s': {name: spread(x) for name, x in speeds.items()},
    'ratio': ratios,
  }


Variant = tuple[Callable[[], Any], Callable[[], Any], Callable[[], np.ndarray]]


def _models() -> dict[str, tuple[Musicnn, Any]]:
  # Imports the code that computes mel bands, which a device may lack.
  from mgc_jax.features import musicnn_encoder

  variables = musicnn_encoder.read_variables()
  return {
    'pruned': musicnn_encoder.prune(variables),
    'published': (Musicnn(), variables),
  }


def _jax_variants(windows: np.ndarray) -> dict[str, Variant]:
  """Returns for each variant: start the work, wait for it, get features."""
  made: dict[str, Variant] = {}
  placed = jax.device_put(windows)
  for name, (model, variables) in _models().items():
    function = functools.partial(
      jax.jit(model.apply), jax.device_put(variables)
    )
    last: list[Any] = [None]

    def call(function: Callable = function, last: list = last) -> None:
      last[0] = function(placed)

    made[f'jax/{name}'] = (
      call,
      lambda last=last: jax.block_until_ready(last),
      lambda function=function: np.asarray(function(placed).features),
    )
  return made


def _onnx_variants(windows: np.ndarray) -> dict[str, Variant]:
  """See `_jax_variants`; empty without a runtime or on an accelerator."""
  names = [x for x in RUNTIMES if is_installed(x)]
  if jax.default_backend() != 'cpu' or not names:
    return {}
  from mgc_jax.inference.onnx_model import musicnn
  from mgc_jax.inference.onnx_model.graph import Graph
  from mgc_jax.inference.onnx_model.weights import Weights

  g = Graph()
  _, variables = _models()['pruned']
  features = musicnn.features(
    g,
    g.reshape('windows', -1, 1, *_WINDOW_SHAPE),
    _WINDOW_SHAPE[0],
    Weights(variables),
  )
  model = g.model(
    [('windows', np.float32, windows.shape)],
    {'features': (features, (np.float32, (len(windows), 200)))},
  ).SerializeToString()
  made: dict[str, Variant] = {}
  for name in names:
    graph = open_graph(model, name)

    def run(graph: Runtime = graph) -> np.ndarray:
      (found,) = graph.run({'windows': windows})
      return found

    made[f'{name}/pruned'] = (run, lambda: None, run)
  return made


def _torch_variants(windows: np.ndarray, compiled: bool) -> dict[str, Variant]:
  """See `_jax_variants`; empty if PyTorch is not installed for the device."""
  if not importlib.util.find_spec('torch'):
    return {}
  import torch

  from benchmarks.peers.torch_musicnn import TorchMusicnn
  from benchmarks.peers.torch_peer import set_up_torch

  device = 'cuda' if jax.default_backend() == 'gpu' else 'cpu'
  if device == 'cuda' and not torch.cuda.is_available():
    return {}
  set_up_torch(device)
  placed = torch.from_numpy(windows).to(device)
  made: dict[str, Variant] = {}
  for name, (_, variables) in _models().items():
    network = TorchMusicnn(variables).to(device)
    kinds = {'eager': network}
    if compiled:
      kinds['compile'] = torch.compile(network, dynamic=False)
    for kind, function in kinds.items():

      def run(function: Callable = function) -> Any:
        with torch.inference_mode():
          return function(placed)

      made[f'torch/{kind}/{name}'] = (
        run,
        torch.cuda.synchronize if device == 'cuda' else lambda: None,
        lambda run=run: run()[1].cpu().numpy(),
      )
  return made


def main() -> None:
  """Prints a line for each batch size."""
  flags = parser(__doc__)
  flags.add_argument('--batch_sizes', default='16,64', help='in windows')
  flags.add_argument('--rounds', type=int, default=3)
  flags.add_argument(
    '--no_compile', action='store_true', help='skip torch.compile'
  )
  args = flags.parse_args()
  set_up_beside_torch(args.toy)
  sizes = (2,) if args.toy else map(int, args.batch_sizes.split(','))
  compiled = not (args.no_compile or args.toy)
  rounds, at_least_s = (1, 0.01) if args.toy else (args.rounds, 0.5)
  found = {x: compare(x, compiled, rounds, at_least_s) for x in sizes}
  write_results({'batch_sizes': found}, args.json)


if __name__ == '__main__':
  main()
