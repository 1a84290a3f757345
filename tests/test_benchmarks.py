"""What the benchmarks count, need, and reject."""

import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import growth
from benchmarks.flops import count_flops
from benchmarks.networks import NAMES, network_config
from mgc_jax.models.cpu.convolution import native_conv
from tests.commands import run_command
from tests.processes import run_python


@pytest.mark.parametrize('name', NAMES)
def test_networks_are_compared_without_augmentation(name):
  """A new augmentation has to be switched off too: its peers have none."""
  found = network_config(name).augment.to_dict()
  assert found.pop('crop') == 'grid' and found.pop('max_speed') == 1
  widths = {'max_time_mask_frames', 'max_band_mask_bands'}  # of no masks
  assert not any(found[name] for name in found.keys() - widths)


@pytest.mark.parametrize('length', [1, 5])
def test_arithmetic_is_counted_through_loops(length):
  def function(x, w):
    def step(x, _):
      return x @ w, None

    return jax.lax.scan(step, x, None, length=length)[0]

  x, w = jnp.ones((3, 7)), jnp.ones((7, 7))
  assert count_flops(jax.jit(function), x, w) == length * 2 * 3 * 7 * 7


def test_arithmetic_of_a_convolution_is_counted():
  x, kernel = jnp.ones((4, 9, 8, 2)), jnp.ones((3, 3, 4, 5))

  def function(x, kernel):
    return native_conv(x, kernel, 'VALID')

  assert count_flops(function, x, kernel) == 2 * (3 * 3 * 4) * 5 * 7 * 6 * 2


def test_accelerator_needs_no_decoders_and_no_tensorflow():
  absent = ('tensorflow', 'keras', 'soundfile', 'soxr', 'librosa', 'orbax')
  code = (
    'import sys\n'
    f'for name in {absent}: sys.modules[name] = None\n'
    'import benchmarks.accelerator'
  )
  run_python(code)


def test_unknown_benchmark_is_reported():
  done = run_command('benchmarks', '--only=step,speed')
  assert done.returncode == 2
  assert 'no benchmark is called speed' in done.stderr


def test_a_large_collection_is_extrapolated_linearly():
  assert growth.extrapolated([40, 80, 160], [5.0, 6.0, 8.0]) == pytest.approx(
    4.0 + 100_000 / 40
  )


_SIZES = {
  '10000': {
    'seconds': {
      'exact': {'median': 0.5, 'min': 0.4, 'max': 0.7},
      'approximate': {'median': 1.0, 'min': 1.0, 'max': 1.0},
    }
  }
}


def test_bars_are_as_long_as_the_medians():
  from benchmarks import pictures  # imports pyplot, in every worker of pytest

  (axis,) = pictures.draw_neighbours({'sizes': _SIZES}).axes
  assert [bar.get_width() for bar in axis.patches] == [0.5, 1.0]
  assert [text.get_text() for text in axis.get_yticklabels()] == [
    '10,000 tracks'
  ]


def test_pictures_are_drawn_of_the_results_that_exist(tmp_path):
  figures, to = tmp_path / 'figures', tmp_path / 'pictures'
  figures.mkdir()
  (figures / 'neighbours.json').write_text(json.dumps({'sizes': _SIZES}))
  done = run_command(
    'benchmarks.pictures', f'--of={figures}', f'--to={to}', MPLBACKEND='agg'
  )
  assert done.returncode == 0, done.stderr
  assert [path.name for path in to.iterdir()] == ['neighbours.png']
  assert f'{figures / "step.json"}: no such file, so no picture' in done.stdout
