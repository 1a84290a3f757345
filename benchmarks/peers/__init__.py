"""The same networks in JAX, PyTorch and Keras, with a common interface."""
