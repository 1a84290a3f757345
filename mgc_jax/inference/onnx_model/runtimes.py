"""Runs ONNX graphs on the processor, with onnxruntime or OpenVINO."""

# The type checker may run without the optional dependencies.
# pyright: reportMissingImports=false

import functools
import os
import sys
import threading
from importlib import util
from typing import Any, Protocol

import numpy as np

from mgc_jax.system import cores
from mgc_jax.system.errors import ConfigError

ONNXRUNTIME, OPENVINO = 'onnx', 'openvino'  # also the names of their extras
# The packages that exporting a model and running it need.
RUNTIMES = {
  ONNXRUNTIME: ('onnx', 'onnxruntime'),
  OPENVINO: ('onnx', 'openvino'),
}

_DTYPES = {
  'tensor(float16)': 'float16',
  'tensor(int32)': 'int32',
  'tensor(float)': 'float32',
  'tensor(bool)': 'bool',
}
_LOG_ERRORS_ONLY = 3  # a log level of onnxruntime
# Of OpenVINO, which would otherwise round to bfloat16 on some processors.
_OPENVINO_SETTINGS = {
  'INFERENCE_PRECISION_HINT': 'f32',
  'PERFORMANCE_HINT': 'LATENCY',
}

_MAX_COMPILED = 4  # programs of OpenVINO, each for other shapes

Signature = list[tuple[str, str, tuple]]


class Runtime(Protocol):
  """A graph that is ready to be run, by any number of threads."""

  def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Computes the graph.

    Args:
      inputs: arrays by the names of the inputs.

    Returns:
      The outputs in their order.
    """
    ...

  def signature(self) -> Signature:
    """Returns name, dtype and shape of all inputs, then of all outputs."""
    ...

  def metadata(self, key: str) -> str:
    """Returns an entry of the file's metadata.

    Args:
      key: of the entry.

    Raises:
      Exception: there is none.
    """
    ...


def is_installed(runtime: str) -> bool:
  """Returns whether the packages of a runtime are installed.

  Args:
    runtime: a key of `RUNTIMES`.
  """
  return all(map(util.find_spec, RUNTIMES[runtime]))


def open_graph(model: bytes, runtime: str = ONNXRUNTIME) -> Runtime:
  """Prepares a graph to be run on the cores that this process may use.

  It is read from memory, so that it cannot refer to other files.

  Args:
    model: the content of an ONNX file.
    runtime: `ONNXRUNTIME` or `OPENVINO`.

  Raises:
    ConfigError: the package is not installed.
    Exception: the content is invalid; the runtimes have no common class.
  """
  if runtime == OPENVINO:
    return _OpenVino(model)
  return _OnnxRuntime(model)


def not_installed_error(package: str, extra: str = ONNXRUNTIME) -> ConfigError:
  """Returns an error that says how to install what a runtime needs.

  Args:
    package: the one that is missing.
    extra: that of this package to which it belongs.
  """
  return ConfigError(f"ONNX needs {package}: pip install 'mgc_jax[{extra}]'")


class _OnnxRuntime:
  """See `Runtime`."""

  def __init__(self, model: bytes):
    # Read when the package is imported, which otherwise reports to its authors.
    os.environ['ORT_DISABLE_TELEMETRY'] = '1'
    try:
      import onnxruntime
    except ImportError as error:
      raise not_installed_error('onnxruntime') from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _LOG_ERRORS_ONLY
    # With its own choice, onnxruntime would also use cores that are withheld
    # from this process.
    options.intra_op_num_threads = cores.count()
    # Threads that wait must not keep the cores from threads that decode.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    self._session = onnxruntime.InferenceSession(
      model, options, providers=['CPUExecutionProvider']
    )

  def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    outputs: Any = self._session.run(None, inputs)
    return outputs

  def signature(self) -> Signature:
    arrays = [*self._session.get_inputs(), *self._session.get_outputs()]
    return [
      (str(x.name), _DTYPES.get(x.type, str(x.type)), tuple(x.shape))
      for x in arrays
    ]

  def metadata(self, key: str) -> str:
    return self._session.get_modelmeta().custom_metadata_map[key]


class _OpenVino:
  """See `Runtime`."""

  def __init__(self, model: bytes):
    # Makes a package appear missing without which OpenVINO works, but reports
    # nothing to its authors.
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore
    try:
      import openvino
    except ImportError as error:
      raise not_installed_error('openvino', OPENVINO) from error
    self._core = openvino.Core()
    self._graph = self._core.read_model(model)
    self._compile = functools.lru_cache(_MAX_COMPILED)(self._compiled)
    # A request must not be used by two threads at a time.
    self._own = threading.local()

  def _compiled(self, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Any:
    """Compiles the graph for inputs of fixed shapes.

    With an open batch size, two LSTMs that read the same input are computed
    wrongly (OpenVINO 2026.4).
    """
    graph = self._graph.clone()
    graph.reshape(dict(shapes))
    return self._core.compile_model(
      graph,
      'CPU',
      {**_OPENVINO_SETTINGS, 'INFERENCE_NUM_THREADS': str(cores.count())},
    )

  def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    shapes = tuple((name, x.shape) for name, x in inputs.items())
    if getattr(self._own, 'shapes', None) != shapes:
      self._own.request = self._compile(shapes).create_infer_request()
      self._own.shapes = shapes
    return list(self._own.request.infer(inputs).values())

  def signature(self) -> Signature:
    arrays: list[Any] = [*self._graph.inputs, *self._graph.outputs]
    found: Signature = []
    for x in arrays:
      sizes = [
        None if n.is_dynamic else n.get_length() for n in x.partial_shape
      ]
      dtype = np.dtype(x.element_type.to_dtype())
      found.append((x.any_name, str(dtype), tuple(sizes)))
    return found

  def metadata(self, key: str) -> str:
    return self._graph.get_rt_info(['framework', key]).astype(str)
