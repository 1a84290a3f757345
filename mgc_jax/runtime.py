"""Sets JAX up for a process: memory that is kept, compiled code that is kept.

Before JAX touches a device. What the environment says (JAX_...) stays.
"""

import ctypes
import hashlib
import os
import pathlib
import platform

from mgc_jax.errors import ConfigError

_CACHE_BYTES = 1 << 30  # of compiled code; the least recently used goes first
_MIN_COMPILE_S = 0.5  # faster compilations are not worth a file

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def set_up() -> None:
  """Does all of it."""
  keep_memory()
  keep_compiled()


def keep_memory() -> None:
  """Keeps memory that is freed for the next use, up to the process's peak.

  XLA's CPU backend allocates the buffers of every step anew, and the fresh
  pages cost more than the arithmetic: a convolutional step ran 1.7 x as
  fast with this, its inference 2.25 x (docs/PERFORMANCE.md). Linux with glibc;
  elsewhere nothing changes.
  """
  import jax  # half a second; not where only the folder is asked for

  if platform.libc_ver()[0] == 'glibc':
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)  # large blocks come from the heap
    mallopt(_M_TRIM_THRESHOLD, -1)  # and what is free there stays
    mallopt(_M_TOP_PAD, 64 << 20)
  # Steps run in this thread, whose heap is the one that can grow at will, and
  # one at a time: queued ones would each have their buffers.
  if 'JAX_CPU_ENABLE_ASYNC_DISPATCH' not in os.environ:
    jax.config.update('jax_cpu_enable_async_dispatch', False)


def keep_compiled() -> None:
  """Keeps compiled functions in the user's cache, for the next process."""
  import jax

  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    try:
      folder = user_cache_dir() / 'compiled' / _machine()
    except ConfigError:  # a user without a home folder
      return
    jax.config.update('jax_compilation_cache_dir', str(folder))
    if 'JAX_COMPILATION_CACHE_MAX_SIZE' not in os.environ:
      jax.config.update('jax_compilation_cache_max_size', _CACHE_BYTES)
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update(
      'jax_persistent_cache_min_compile_time_secs', _MIN_COMPILE_S
    )


def user_cache_dir() -> pathlib.Path:
  """Returns the folder for what can be made again, absolute.

  Raises:
    ConfigError: the user has no home folder, and XDG_CACHE_HOME names none.
  """
  return _user_dir('XDG_CACHE_HOME', '.cache')


def user_data_dir() -> pathlib.Path:
  """Returns the folder for what cannot be made again, absolute.

  Raises:
    ConfigError: the user has no home folder, and XDG_DATA_HOME names none.
  """
  return _user_dir('XDG_DATA_HOME', '.local/share')


def _user_dir(variable: str, place: str) -> pathlib.Path:
  folder = os.environ.get(variable)
  try:
    folder = folder or pathlib.Path.home() / place
  except RuntimeError as error:  # as in a container, of a user without a name
    raise ConfigError(
      f'this user has no home folder; set {variable} to a folder'
    ) from error
  return pathlib.Path(folder).absolute() / 'mgc_jax'


def _machine() -> str:
  """Returns a name for what XLA's machine code for CPU depends on.

  A home folder may be shared by machines whose processors know other
  instructions, and the code depends on the number of cores; JAX's own key has
  neither.
  """
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    facts = sorted({x for x in lines if x.startswith(('flags', 'Features'))})
  except OSError:
    facts = [platform.processor()]
  if hasattr(os, 'sched_getaffinity'):
    facts.append(str(len(os.sched_getaffinity(0))))
  else:
    facts.append(str(os.cpu_count()))
  facts += [platform.machine(), os.environ.get('NPROC', '')]
  return hashlib.sha256('\n'.join(facts).encode()).hexdigest()[:12]
