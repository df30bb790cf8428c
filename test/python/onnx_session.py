"""Runs exported models with ONNX Runtime, keeping the cache between calls."""

from pathlib import Path

import numpy as np
import onnxruntime


class OnnxSession:
    """One text. `session` may be given to several."""

    def __init__(self, directory: Path, session: onnxruntime.InferenceSession | None = None):
        self.session = session or onnxruntime.InferenceSession(
            str(directory / "model.onnx"), providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.position = 0
        self.past = {}
        for value in self.session.get_inputs():
            if value.name.startswith("past_key_values."):
                _, heads, _, width = value.shape
                self.past[value.name] = np.zeros((1, heads, 0, width), np.float32)

    def feed(self, tokens) -> np.ndarray:
        """Reads tokens; returns f32 [len(tokens), vocabulary]."""
        positions = np.arange(self.position, self.position + len(tokens), dtype=np.int64)
        result = dict(zip(self.outputs, self.session.run(None, {
            "input_ids": np.asarray(tokens, np.int64)[None], "position_ids": positions[None], **self.past})))
        self.position += len(tokens)
        self.past = {name: result[name.replace("past_key_values", "present")] for name in self.past}
        return result["logits"][0]
