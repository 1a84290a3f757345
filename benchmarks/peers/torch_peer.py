"""The networks of `config.model` in idiomatic PyTorch.

Supports only the activations relu and elu.
"""

import os
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict, FrozenConfigDict
from torch import nn
from torch.nn import functional

_ACTIVATIONS = {'relu': nn.ReLU, 'elu': nn.ELU}


def set_up_torch(device: str) -> None:
  """Gives PyTorch the precision or the threads that JAX has by default.

  Args:
    device: cpu or cuda.
  """
  if device == 'cuda':
    torch.set_float32_matmul_precision('high')
    torch.backends.cudnn.benchmark = True
  elif hasattr(os, 'sched_getaffinity'):
    torch.set_num_threads(len(os.sched_getaffinity(0)))


class TorchPeer:
  """A network, its optimiser, and the calls that are timed.

  If `config.model.lstm.recurrent_dropout` is not zero it does less work than
  ours, because nn.LSTM does not support dropout of the hidden state.
  """

  def __init__(
    self,
    config: ConfigDict,
    batch_shape: tuple,
    variant: str,
    device: str = 'cpu',
  ):
    """Builds the network with random weights.

    Args:
      config: `config.model` and `config.train` are read; bfloat16 is PyTorch's
        automatic mixed precision.
      batch_shape: (B, W, T, F) of the windows.
      variant: eager; channels_last, a memory layout for convolutions; or
        compile, which combines channels_last and torch.compile.
      device: cpu or cuda.
    """
    if variant not in ('eager', 'channels_last', 'compile'):
      raise ValueError(
        f'variant={variant}: must be eager, channels_last or compile'
      )
    self._device = torch.device(device)
    set_up_torch(device)
    made = _Network(config.model, batch_shape, variant != 'eager')
    self._call = self._network = made.to(self._device)
    self._cast = torch.autocast(
      device, torch.bfloat16, enabled=config.model.dtype == 'bfloat16'
    )
    if variant == 'compile':
      # Compile each network separately for its shapes; beyond its limit of
      # recompilations torch would continue uncompiled.
      torch._dynamo.reset()
      self._call = torch.compile(self._network, dynamic=False)
    self._train = train = config.train
    self._params = [p for p in self._network.parameters() if p.requires_grad]
    self.num_params = sum(p.numel() for p in self._params)
    kernels = [p for p in self._params if p.ndim > 1]
    vectors = [p for p in self._params if p.ndim <= 1]
    decayed = {'params': kernels}
    kind = torch.optim.Adam
    if train.optimizer == 'adamw':
      kind, decayed['weight_decay'] = torch.optim.AdamW, train.weight_decay
    groups = [decayed, {'params': vectors, 'weight_decay': 0.0}]
    # Not PyTorch's default on CPU, but the fastest.
    self._optimizer = kind(groups, lr=train.learning_rate, fused=True)

  def load(
    self, params: dict[str, np.ndarray], batch_stats: dict[str, np.ndarray]
  ) -> None:
    """Loads flax's weights, f32[...] by their names joined with '/'."""
    values, targets = params | batch_stats, self._network.targets()
    if set(values) != set(targets):
      names = sorted(set(values) ^ set(targets))
      raise ValueError(f'weights of flax and of PyTorch differ: {names}')
    with torch.no_grad():
      for name, tensor in targets.items():
        tensor.copy_(torch.tensor(np.asarray(values[name])))

  def logits(self, windows: np.ndarray) -> np.ndarray:
    """Maps f32[B, W, T, F] windows to f32[B, W, C], in evaluation mode."""
    on_device = torch.from_numpy(windows).to(self._device)
    return self._evaluate(on_device).float().cpu().numpy()

  def place(self, windows: np.ndarray, label: np.ndarray) -> Any:
    """Converts f32[B, W, T, F] windows and their excerpts' i64[B] labels."""
    labels = np.repeat(label, windows.shape[1])
    both = torch.from_numpy(windows), torch.from_numpy(labels)
    return tuple(x.to(self._device) for x in both)

  def train_step(self, placed: Any) -> None:
    """Takes one step of the optimiser on what `place` returned."""
    windows, labels = placed
    self._network.train()
    self._optimizer.zero_grad()
    smoothing = self._train.label_smoothing
    with self._cast:
      logits = self._call(windows).flatten(0, 1)
      loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    loss.backward()
    if self._train.clip_norm:
      nn.utils.clip_grad_norm_(self._params, self._train.clip_norm)
    self._optimizer.step()

  def infer(self, placed: Any) -> None:
    """Computes the logits of what `place` returned, in evaluation mode."""
    self._evaluate(placed[0])

  @torch.inference_mode()
  def _evaluate(self, windows: torch.Tensor) -> torch.Tensor:
    self._network.eval()
    with self._cast:
      return self._call(windows)

  def wait(self) -> None:
    """Waits for the device; on a GPU the other calls do not."""
    if self._device.type == 'cuda':
      torch.cuda.synchronize()


class _Network(nn.Module):
  """Maps f32[B, W, T, F] windows to f32[B, W, C] logits."""

  def __init__(self, model: ConfigDict, batch_shape: tuple, last: bool):
    super().__init__()
    self.model = model = FrozenConfigDict(model)
    self.convs, self.rests = nn.ModuleList(), nn.ModuleList()
    self.lstm, cnn = None, model.cnn
    channels = cnn.stack_frames * cnn.stack_bands
    for i, size in enumerate(cnn.filters if model.name != 'lstm' else ()):
      pad, normed = cnn.padding.lower(), cnn.norm != 'none'
      self.convs.append(
        nn.Conv2d(channels, size, cnn.kernel_size, padding=pad, bias=not normed)
      )
      rest = [nn.BatchNorm2d(size)] if normed else []
      rest.append(_ACTIVATIONS[cnn.activation]())
      is_first = cnn.norm == 'batch_after_pool'
      pool = nn.MaxPool2d((cnn.pool_frames[i], cnn.pool_bands[i]))
      rest.insert(0 if is_first else len(rest), pool)
      self.rests.append(nn.Sequential(*rest, nn.Dropout(cnn.dropout[i])))
      channels = size
    self.layout = torch.channels_last if last else torch.contiguous_format
    self.to(memory_format=self.layout)
    with torch.no_grad():  # run one excerpt to find the sizes of the layers
      size = self._steps(torch.zeros(1, *batch_shape[1:])).shape[-1]
      if model.name != 'cnn':
        self.lstm = nn.LSTM(size, model.lstm.hidden_size, batch_first=True)
        # Only the sum of its two biases matters; the others have one.
        self.lstm.bias_hh_l0.zero_().requires_grad_(False)
      size = self._body(torch.zeros(1, *batch_shape[1:])).shape[-1]
    head = []
    for units, rate in zip(model.dense.sizes, model.dense.dropout, strict=True):
      head += [nn.Linear(size, units), _ACTIVATIONS[model.dense.activation]()]
      head, size = head + [nn.Dropout(rate)], units
    self.head = nn.Sequential(*head, nn.Linear(size, model.num_genres))

  def forward(self, windows: torch.Tensor) -> torch.Tensor:
    return self.head(self._body(windows))

  def _steps(self, x: torch.Tensor) -> torch.Tensor:
    """Maps f32[B, W, T, F] to f32[B, W, S, D], like our ConvStack."""
    model, (b, w, t, f) = self.model, x.shape
    if model.name == 'lstm':
      if model.lstm.bands_as_steps:
        return x.transpose(2, 3)
      frames = model.lstm.stack_frames
      return x[:, :, : t // frames * frames].reshape(b, w, t // frames, -1)
    frames, bands = model.cnn.stack_frames, model.cnn.stack_bands
    x = x[:, :, : t // frames * frames, : f // bands * bands]
    x = x.reshape(b * w, t // frames, frames, f // bands, bands)
    x = x.permute(0, 2, 4, 1, 3).flatten(1, 2)
    x = x.contiguous(memory_format=self.layout)
    for conv, rest in zip(self.convs, self.rests, strict=True):
      x = rest(conv(x))
    x = x.permute(0, 2, 3, 1)  # time, band, channel, as in flax
    if model.cnn.readout in ('steps', 'flatten'):
      steps = x.shape[1] if model.cnn.readout == 'steps' else 1
      return x.reshape(b, w, steps, -1)
    x = x.mean(2)
    if model.cnn.readout == 'step_means':
      return x.reshape(b, w, *x.shape[1:])
    return _mean_max(x, model.cnn.readout).reshape(b, w, 1, -1)

  def _body(self, windows: torch.Tensor) -> torch.Tensor:
    """Maps f32[B, W, T, F] to f32[B, W, R]."""
    x, settings = self._steps(windows), self.model.lstm
    b, w, s, _ = x.shape
    if self.lstm is None:
      return x.flatten(2)
    x = x.flatten(1, 2)
    if self.training and settings.input_dropout:
      # Use the same mask for all steps.
      x = x * functional.dropout(
        torch.ones_like(x[:, :1]), settings.input_dropout
      )
    x = self.lstm(x)[0].reshape(b * w, s, -1)
    if settings.readout in ('last', 'flatten'):
      x = x[:, -1] if settings.readout == 'last' else x.flatten(1)
    else:
      x = _mean_max(x, settings.readout)
    x = x.reshape(b, w, -1)
    return functional.dropout(x, settings.output_dropout, self.training)

  def targets(self) -> dict[str, torch.Tensor]:
    """Returns the weights under flax's names, as views with flax's axes."""
    found = {}
    for i, (conv, rest) in enumerate(zip(self.convs, self.rests, strict=True)):
      name = f'ConvStack_0/ConvBlock_{i}/'
      found[name + 'Conv_0/kernel'] = conv.weight.permute(2, 3, 1, 0)
      if conv.bias is not None:
        found[name + 'Conv_0/bias'] = conv.bias
        continue
      norm = next(x for x in rest if isinstance(x, nn.BatchNorm2d))
      name += 'BatchNorm_0/'
      found |= {name + 'scale': norm.weight, name + 'bias': norm.bias}
      found |= {
        name + 'mean': norm.running_mean,
        name + 'var': norm.running_var,
      }
    if self.lstm is not None:
      found['WindowLstm_0/input_kernel'] = self.lstm.weight_ih_l0.T
      found['WindowLstm_0/recurrence/kernel'] = self.lstm.weight_hh_l0.T
      found['WindowLstm_0/bias'] = self.lstm.bias_ih_l0
    for i, dense in enumerate(x for x in self.head if hasattr(x, 'weight')):
      found[f'Head_0/Dense_{i}/kernel'] = dense.weight.T
      found[f'Head_0/Dense_{i}/bias'] = dense.bias
    return found


def _mean_max(x: torch.Tensor, how: str) -> torch.Tensor:
  """Pools f32[N, S, D] over its steps to f32[N, D], or f32[N, 2 D]."""
  mean = x.mean(1)
  return mean if how == 'mean' else torch.cat([mean, x.amax(1)], -1)
