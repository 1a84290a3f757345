"""A graph of ONNX operators while it is built."""

# The type checker may run without the optional dependencies.
# pyright: reportMissingImports=false

from typing import Any

import numpy as np

# Operators of this version are in every runtime of 2024 and later.
OPSET = 20
IR_VERSION = 10

# Of vector instructions; maps are fast if this divides the number of channels.
LANES = 16

Value = str  # the name of an array in the graph


class Graph:
  """Collects operators and constants; `model` returns the whole."""

  def __init__(self):
    """Starts with an empty graph."""
    self._nodes: list[Any] = []
    self._constants: list[Any] = []

  def add(
    self,
    op: str,
    *inputs: Value | np.ndarray | np.generic,
    **attributes: Any,
  ) -> Value:
    """Adds an operator; returns its first output, the only one that is used.

    Args:
      op: the name of the operator in the ONNX standard, such as `MatMul`.
      *inputs: arrays of the graph, or constants. An empty name omits an
        optional input.
      **attributes: those of the operator.
    """
    from onnx import helper

    names = [self._name(x) for x in inputs]
    output = f'v{len(self._nodes)}'
    self._nodes.append(helper.make_node(op, names, [output], **attributes))
    return output

  def _name(self, x: Value | np.ndarray | np.generic) -> str:
    from onnx import numpy_helper

    if isinstance(x, str):
      return x
    name = f'c{len(self._constants)}'
    # Contiguous, because the bytes of the array are copied as they are.
    array = np.ascontiguousarray(x).reshape(np.shape(x))
    self._constants.append(numpy_helper.from_array(array, name))
    return name

  def reshape(self, x: Value, *shape: int) -> Value:
    """Reshapes an array; one size may be -1, which is computed."""
    return self.add('Reshape', x, np.array(shape, np.int64))

  def cut(self, x: Value, axis: int, start: int, stop: int) -> Value:
    """Returns `x[start:stop]` along an axis, counted as in Python."""
    bounds = ([start], [stop], [axis])
    return self.add('Slice', x, *(np.array(b, np.int64) for b in bounds))

  def reduce(self, op: str, x: Value, *axes: int, keep: bool = False) -> Value:
    """Reduces axes with an operator such as `ReduceMean`."""
    at = np.array(axes, np.int64)
    return self.add(op, x, at, keepdims=int(keep))

  def cast(self, x: Value, dtype: type) -> Value:
    """Converts an array to a dtype of numpy."""
    from onnx import helper

    return self.add(
      'Cast', x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    )

  def model(
    self, inputs: list[Any], outputs: dict[str, tuple[Value, Any]]
  ) -> Any:
    """Returns the `onnx.ModelProto`.

    Args:
      inputs: `(name, dtype, shape)` of each input. A size may be a name.
      outputs: for each name, the array and its `(dtype, shape)`.
    """
    from onnx import helper

    def info(name: str, dtype: type, shape: tuple) -> Any:
      kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
      return helper.make_tensor_value_info(name, kind, shape)

    named = [
      helper.make_node('Identity', [value], [name])
      for name, (value, _) in outputs.items()
    ]
    graph = helper.make_graph(
      [*self._nodes, *named],
      'mgc_jax',
      [info(*x) for x in inputs],
      [info(name, *what) for name, (_, what) in outputs.items()],
      self._constants,
    )
    return helper.make_model(
      graph,
      opset_imports=[helper.make_opsetid('', OPSET)],
      ir_version=IR_VERSION,
      producer_name='mgc_jax',
    )
