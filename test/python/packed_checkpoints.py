"""Tiny checkpoints with packed integer weights: GPTQ, AWQ and EfficientQAT, packed word by word from the formats' definitions."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tiny_models import random_weights, write_checkpoint

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def pack_stream(codes: np.ndarray, bits: int) -> np.ndarray:
    """int32 [ceil(C * bits / 32), R] of codes [C, R]: the bits of a column one behind the other, the lowest first."""
    count, rows = codes.shape
    words = [[0] * rows for _ in range(-(-count * bits // 32))]
    for row in range(rows):
        stream = sum(int(code) << (i * bits) for i, code in enumerate(codes[:, row]))
        for i in range(len(words)):
            words[i][row] = stream >> (32 * i) & 0xFFFFFFFF
    return np.array(words, np.uint32).view(np.int32)


def pack_whole(codes: np.ndarray, bits: int) -> np.ndarray:
    """The same with 32 // bits codes in each word, and nothing in the bits that are left."""
    count, rows = codes.shape
    per_word = 32 // bits
    words = np.zeros((-(-count // per_word), rows), np.uint32)
    for i in range(count):
        words[i // per_word] |= codes[i].astype(np.uint32) << np.uint32(bits * (i % per_word))
    return words.view(np.int32)


def pack_awq(codes: np.ndarray) -> np.ndarray:
    """int32 [R, C / 8] of codes [R, C]."""
    words = np.zeros((codes.shape[0], codes.shape[1] // 8), np.uint32)
    for column in range(words.shape[1]):
        for nibble, source in enumerate(AWQ_ORDER):
            words[:, column] |= codes[:, 8 * column + source].astype(np.uint32) << np.uint32(4 * nibble)
    return words.view(np.int32)


def quantize(weights: np.ndarray, bits: int, group: int, rng: np.random.Generator, shuffle: bool) -> dict[str, np.ndarray]:
    """codes [K, N], zeros and scales (f16) [G, N], g_idx [K], and the floats [N, K] that they stand for."""
    columns = weights.shape[1]
    g_idx = np.arange(columns) // group
    if shuffle:
        g_idx = rng.permutation(g_idx)
    top, w = (1 << bits) - 1, weights.T
    low, high = (np.stack([reduce(w[g_idx == g], axis=0) for g in range(g_idx.max() + 1)]) for reduce in (np.min, np.max))
    scales = ((high - low) / top + 1e-3).astype(np.float16)
    zeros = np.clip(np.rint(-low / scales.astype(np.float32)), 1, top).astype(np.uint8)
    codes = np.clip(np.rint(w / scales[g_idx]) + zeros[g_idx], 0, top).astype(np.uint8)
    floats = (codes.astype(np.float32) - zeros[g_idx]) * scales[g_idx].astype(np.float32)
    return {"codes": codes, "zeros": zeros, "scales": scales, "g_idx": g_idx.astype(np.int32), "floats": np.ascontiguousarray(floats.T)}


def write_packed(directory: Path, config: dict, method: str, bits: int, group: int, *, seed: int = 3, shuffle: bool = False,
                 file: str = "config.json") -> dict[str, np.ndarray]:
    """Writes a checkpoint whose linear layers are packed; returns its weights as floats, by Hugging Face's names.

    method: gptq, gptq_v2, awq or efficientqat. shuffle: columns of a group lie anywhere, as desc_act leaves them.
    """
    rng = np.random.default_rng(seed)
    weights = random_weights(config, seed)
    write_checkpoint(directory, config, weights)
    tensors = load_file(directory / "model.safetensors")
    for name in [name for name in weights if name.endswith("_proj.weight")]:
        base = name.removesuffix(".weight")
        q = quantize(tensors.pop(name), bits, group, rng, shuffle)
        weights[name] = q["floats"]
        if method == "awq":
            tensors |= {f"{base}.qweight": pack_awq(q["codes"]), f"{base}.qzeros": pack_awq(q["zeros"])}
        else:
            pack = pack_whole if method == "efficientqat" else pack_stream
            stored = q["zeros"] - 1 if method == "gptq" else q["zeros"]
            tensors |= {f"{base}.qweight": pack(q["codes"], bits), f"{base}.g_idx": q["g_idx"],
                        f"{base}.qzeros": np.ascontiguousarray(pack(np.ascontiguousarray(stored.T), bits).T)}
        tensors[f"{base}.scales"] = q["scales"]
    save_file(tensors, directory / "model.safetensors")
    section = {"quant_method": method.removesuffix("_v2"), "bits": bits, "group_size": group}
    if method == "awq":
        section |= {"version": "gemm", "zero_point": True}
    elif method != "efficientqat":
        section |= {"desc_act": shuffle, "sym": False, "checkpoint_format": method}
    if method != "efficientqat":
        path = directory / file
        text = {**json.loads(path.read_text()), "quantization_config": section} if file == "config.json" else section
        path.write_text(json.dumps(text))
    return weights
