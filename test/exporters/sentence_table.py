"""Writes the table of docs/Models.md on the sentence encoder all-MiniLM-L6-v2: how similar are embeddings of quantized models to the float one's?

    sentence_table.py MODEL.onnx docs/Models.md

MODEL.onnx is what export_encoder.py makes of `minilm`. Sentences are those that describe ONNX's operators: 256 of them are measured, the others
calibrate. Models of 4, 3 and 2 bits are made of the weights alone (`--quantize`), and with calibration (`elutq quantize`).
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tokenizers

import elutq

BEGIN, END = "<!-- begin: sentence_table.py -->\n", "<!-- end: sentence_table.py -->\n"
LENGTH, ROWS = 64, 8


def read_sentences() -> list[str]:
    """Sentences of 5 to 40 words about ONNX's operators, in a fixed order that mixes them."""
    text = " ".join(schema.doc for schema in sorted(onnx.defs.get_all_schemas(), key=lambda schema: schema.name))
    found = dict.fromkeys(re.sub(r"\s+", " ", sentence).strip() for sentence in re.split(r"(?<=[.!?])\s+", text))
    kept = [sentence for sentence in found if 5 <= len(sentence.split()) <= 40]
    return [kept[i] for i in np.random.default_rng(1).permutation(len(kept))]


def load_tokenizer(model: Path) -> tokenizers.Tokenizer:
    """The one beside the model."""
    tokenizer = tokenizers.Tokenizer.from_file(str(model.with_name("tokenizer.json")))
    return tokenizer


def tokenize(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> dict[str, np.ndarray]:
    """A batch, padded on the right to its longest sentence."""
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(texts)
    return {"input_ids": np.array([text.ids for text in encoded]), "attention_mask": np.array([text.attention_mask for text in encoded]),
            "token_type_ids": np.array([text.type_ids for text in encoded])}


def embeddings(model: elutq.Graph | Path, tokenizer: tokenizers.Tokenizer, texts: list[str]) -> np.ndarray:
    """f32 [texts, width] of a compiled graph or of an ONNX file by ONNX Runtime: the mean over the words, as the model's card says, of length 1."""
    session = None if isinstance(model, elutq.Graph) else onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    parts = []
    for start in range(0, len(texts), ROWS):
        batch = tokenize(tokenizer, texts[start:start + ROWS])
        hidden = session.run(None, batch)[0] if session else model.run(batch)[0]
        weights = batch["attention_mask"][..., None].astype(np.float32)
        mean = (hidden * weights).sum(1) / weights.sum(1)
        parts.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
    return np.concatenate(parts)


def cosines(result: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (result * expected).sum(1)


def write_calibration(path: Path, tokenizer: tokenizers.Tokenizer, texts: list[str]) -> int:
    """Windows of whole text without padding, whose activations would count like those of words. Returns how many."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    first, last = tokenizer.encode("a").ids[0], tokenizer.encode("a").ids[-1]
    ids = tokenizer.encode(" ".join(texts), add_special_tokens=False).ids
    size = LENGTH - 2
    windows = np.array([[first, *ids[start:start + size], last] for start in range(0, len(ids) - size, size)])
    np.savez(path, input_ids=windows, attention_mask=np.ones_like(windows), token_type_ids=np.zeros_like(windows))
    return len(windows)


def compiled(model: Path, folder: Path, quantize: str | None = None) -> elutq.Graph:
    library = folder / f"model{len(list(folder.glob('*.so')))}.so"  # The system loads a library of one name once.
    elutq.compile(model, library, emit="graph", quantize=quantize, arguments=[f"--shape=batch={ROWS},sequence={LENGTH}"])
    return elutq.Graph(library)


def quantize(model: Path, output: Path, bits: int, calibration: Path, windows: int) -> None:
    subprocess.run([sys.executable, "-m", "elutq", "quantize", model, "-o", output, "--bits", str(bits), "--group", "32", "--calibration", calibration,
                    "--windows", str(windows), "-q"], check=True, env={**os.environ, "PYTHONPATH": str(Path(elutq.__file__).parents[1])})


def main() -> None:
    model, page = Path(sys.argv[1]), Path(sys.argv[2])
    texts = read_sentences()
    calibration, measured = texts[256:], texts[:256]
    tokenizer = load_tokenizer(model)
    expected = embeddings(model, tokenizer, measured)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        windows = write_calibration(folder / "sentences.npz", tokenizer, calibration)
        rows.append(("float", "", cosines(embeddings(compiled(model, folder), tokenizer, measured), expected)))
        for bits in (4, 3, 2):
            options = f"bits={bits},group=32"
            graph = compiled(model, folder, quantize=f"hlq:{options}")
            rows.append((f"{bits} bits", "weights alone", cosines(embeddings(graph, tokenizer, measured), expected)))
            quantize(model, folder / "q.onnx", bits, folder / "sentences.npz", windows)
            graph = compiled(folder / "q.onnx", folder)
            rows.append((f"{bits} bits", f"{windows} windows of {LENGTH} tokens", cosines(embeddings(graph, tokenizer, measured), expected)))
    lines = ["| model | calibration | mean | least |", "|---|---|---|---|"]
    lines += [f"| {model_name} | {source} | {values.mean():.4f} | {values.min():.4f} |" for model_name, source, values in rows]
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after)


if __name__ == "__main__":
    main()
