"""The same networks in PyTorch and in Keras, to be timed against JAX's."""
