"""Backends that run a generator: PyTorch for checkpoints, ONNX Runtime and OpenVINO for exported files."""
