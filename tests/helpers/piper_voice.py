"""A voice of piper-tts that hums: a sine whose length is that of the text."""

from __future__ import annotations

import json
from pathlib import Path

RATE = 16_000  # Hz
HERTZ = 200.0
SAMPLES_PER_PHONEME = 800
PHONEMES = "_^$ .,abdefhiklmnoprstuvwyzæðɐɑɔəɛɜɡɪŋɹʃʊʌʒˈˌːθ"


def write_voice(path: Path) -> Path:
    """Write the network (.onnx) and its configuration beside it."""
    from onnx import TensorProto, helper, save

    def constant(name: str, kind: int, *values: float):
        return helper.make_tensor(name, kind, [len(values)] if name == "shape" else [], list(values))

    nodes = [
        ("Size", ["input"], "phonemes"),
        ("Mul", ["phonemes", "samples"], "count"),
        ("Range", ["zero", "count", "one"], "index"),
        ("Cast", ["index"], "time"),
        ("Mul", ["time", "step"], "phase"),
        ("Sin", ["phase"], "wave"),
        ("Reshape", ["wave", "shape"], "output"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **({"to": TensorProto.FLOAT} if kind == "Cast" else {}))
         for kind, inputs, output in nodes],
        "hum",
        [helper.make_tensor_value_info("input", TensorProto.INT64, [1, None]),
         helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
         helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, None])],
        [constant("samples", TensorProto.INT64, SAMPLES_PER_PHONEME), constant("zero", TensorProto.INT64, 0),
         constant("one", TensorProto.INT64, 1), constant("step", TensorProto.FLOAT, 2 * 3.14159265 * HERTZ / RATE),
         constant("shape", TensorProto.INT64, 1, 1, 1, -1)],
    )  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    config = {
        "audio": {"sample_rate": RATE}, "espeak": {"voice": "en-us"}, "num_symbols": len(PHONEMES), "num_speakers": 1,
        "phoneme_id_map": {phoneme: [number] for number, phoneme in enumerate(PHONEMES)},
    }  # fmt: skip
    path.with_name(f"{path.name}.json").write_text(json.dumps(config), encoding="utf-8")
    return path
