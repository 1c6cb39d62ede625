"""What a person sees of a training: console, TensorBoard, videos."""
