"""musicnn in idiomatic PyTorch, with the weights of ours."""

import functools
from typing import Any

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from torch import nn

from mgc_jax.models.musicnn import FRONT_KERNELS, NORM_EPSILON


class TorchMusicnn(nn.Module):
  """Maps f32[N, T, F] log-mel windows to f32[N, 50] tags, f32[N, 200] features.

  Only for inference: it has no dropout.
  """

  def __init__(self, variables: Any):
    """Builds a network of the size of the weights.

    Args:
      variables: of `mgc_jax.models.musicnn.Musicnn`, whole or pruned.
    """
    super().__init__()
    flat = flatten_dict(variables, sep='/')
    load = functools.partial(_load_norm, flat)
    self.input_norm = load('input_norm', nn.BatchNorm2d)
    self.front = nn.ModuleList(
      _block(flat, f'front_{i}') for i in range(len(FRONT_KERNELS))
    )
    self.mid = nn.ModuleList(_block(flat, f'mid_{i}') for i in range(3))
    self.pool_norm = load('pool_norm', nn.BatchNorm1d)
    self.features = _dense(flat, 'features')
    self.features_norm = load('features_norm', nn.BatchNorm1d)
    self.tags = _dense(flat, 'tags')
    self.eval()

  def forward(
    self, log_mels: torch.Tensor
  ) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns tags and features; see the class."""
    x = self.input_norm(log_mels[:, None])
    x = torch.cat([part(x).amax(-1, keepdim=True) for part in self.front], 1)
    maps = [x]
    for i, block in enumerate(self.mid):
      y = block(x)
      x = y + x if i else y
      maps.append(x)
    x = torch.cat(maps, 1)[..., 0]
    # A channel's maximum comes next to its mean, as in the checkpoint.
    x = torch.stack([x.amax(-1), x.mean(-1)], -1).flatten(1)
    features = self.features_norm(self.features(self.pool_norm(x)).relu())
    return self.tags(features).sigmoid(), features


def _block(flat: dict, name: str) -> nn.Module:
  """Returns a convolution, padded with zeros in time only, ReLU and norm."""
  kernel = np.asarray(flat[f'params/{name}/kernel'])
  frames, bands, inputs, filters = kernel.shape
  pad = nn.ZeroPad2d((0, 0, (frames - 1) // 2, frames // 2))
  conv = nn.Conv2d(inputs, filters, (frames, bands))
  _copy(conv.weight, kernel.transpose(3, 2, 0, 1))
  _copy(conv.bias, flat[f'params/{name}/bias'])
  norm = _load_norm(flat, f'{name}/norm', nn.BatchNorm2d)
  return nn.Sequential(pad, conv, nn.ReLU(), norm)


def _dense(flat: dict, name: str) -> nn.Linear:
  kernel = np.asarray(flat[f'params/{name}/kernel'])
  made = nn.Linear(*kernel.shape)
  _copy(made.weight, kernel.T)
  _copy(made.bias, flat[f'params/{name}/bias'])
  return made


def _load_norm(flat: dict, name: str, kind: Any) -> nn.Module:
  made = kind(len(flat[f'params/{name}/scale']), NORM_EPSILON)
  _copy(made.weight, flat[f'params/{name}/scale'])
  _copy(made.bias, flat[f'params/{name}/bias'])
  _copy(made.running_mean, flat[f'batch_stats/{name}/mean'])
  _copy(made.running_var, flat[f'batch_stats/{name}/var'])
  return made


def _copy(target: Any, value: Any) -> None:
  with torch.no_grad():
    target.copy_(torch.tensor(np.asarray(value)))
