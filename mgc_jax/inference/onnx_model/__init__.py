"""Models in the ONNX format: how they are built, and how they are run."""
