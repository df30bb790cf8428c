"""What an ONNX language model's graph is fed with to read token ids from an empty past.

    inputs = graph_inputs(session.get_inputs())
    session.run(["logits"], make_feeds(inputs, ids, model_dimensions("model.onnx")))
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from .errors import FeedError

_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32, "tensor(float16)": np.float16,
          "tensor(bool)": np.bool_}
_IDS = ("input_ids", "tokens", "ids")
_PAST = ("past_key_values", "past_key", "past_value", "past_", "cache_k", "cache_v", "k_cache", "v_cache")


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph: `shape` has numbers for fixed and names (or None) for other dimensions."""

    name: str
    dtype: np.dtype
    shape: tuple[int | str | None, ...]


def graph_inputs(values: Iterable[Any]) -> list[GraphInput]:
    """The inputs of an onnxruntime.InferenceSession (`get_inputs()`) or of an ONNX graph (`graph.input`)."""
    return [_of_session(value) if hasattr(value, "shape") else _of_graph(value) for value in values]


def make_feeds(inputs: Sequence[GraphInput], ids: np.ndarray,
               dimensions: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Arrays for all `inputs`, so that the graph reads `ids`, int [tokens] or [batch, tokens], from the first position on.

    dimensions: values of named dimensions of cache inputs; others that have no number are of zero length.
    Raises FeedError that names an input which is none of ids, position ids, attention mask, token types, a cache, or a length.
    """
    ids = np.atleast_2d(np.asarray(ids))
    feeds = {value.name: _fill(value, ids, dimensions or {}) for value in inputs}
    if not any(value.name in _IDS for value in inputs):
        raise FeedError(f"the graph has no input for token ids, expected {' or '.join(_IDS)}")
    return feeds


def model_dimensions(model: str | os.PathLike[str]) -> dict[str, int]:
    """The dimensions that the graphs of onnxruntime-genai's model builder leave to genai_config.json beside `model`; else none."""
    try:
        configuration = json.loads((Path(model).parent / "genai_config.json").read_text(encoding="utf-8"))
        decoder = configuration["model"]["decoder"]
        result = {"kv_cache_dim": decoder["head_size"], "head_size": decoder["head_size"]}
        if "sliding_window" in decoder:
            result["past_sliding_length"] = decoder["sliding_window"]["window_size"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: value for name, value in result.items() if isinstance(value, int)}


def _of_session(value: Any) -> GraphInput:
    if value.type not in _TYPES:
        raise FeedError(f"the input '{value.name}' has the type {value.type}, expected {', '.join(_TYPES)}")
    return GraphInput(value.name, np.dtype(_TYPES[value.type]), tuple(value.shape))


def _of_graph(value: Any) -> GraphInput:
    import onnx

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise FeedError(f"the input '{value.name}' is no tensor")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim)
    return GraphInput(value.name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape)


def _fill(value: GraphInput, ids: np.ndarray, dimensions: Mapping[str, int]) -> np.ndarray:
    batch, length = ids.shape
    name, dtype, rank = value.name, value.dtype, len(value.shape)
    if name in _IDS and rank == 2:
        result = ids.astype(dtype)
    elif name in ("position_ids", "cache_position"):
        result = np.broadcast_to(np.arange(length, dtype=dtype), (length,) if rank == 1 else (batch, length))
    elif name in ("attention_mask", "token_type_ids") and rank == 2:
        result = np.full(ids.shape, name == "attention_mask", dtype)
    elif name == "total_sequence_length" and rank <= 1:
        result = np.full((1,) * rank, length, dtype)
    elif name in ("past_sequence_length", "use_cache_branch", "num_logits_to_keep", "logits_to_keep") and rank <= 1:
        result = np.zeros((1,) * rank, dtype)  # A number of logits of 0 stands for all of them.
    elif name.startswith(_PAST) and rank >= 3:
        result = np.zeros(_cache_shape(value, batch, dimensions), dtype)
    else:
        raise FeedError(f"the input '{name}' {list(value.shape)} is none that token ids can fill: ids, position_ids, "
                        "attention_mask [batch, tokens], token_type_ids and past_key_values are known")
    for size, wanted in zip(result.shape, value.shape):
        if isinstance(wanted, int) and wanted > 0 and size != wanted:
            raise FeedError(f"the input '{name}' has the fixed shape {list(value.shape)}, which does not take {batch} x {length} "
                            "tokens; choose windows of that length, or export the model with free dimensions")
    return np.ascontiguousarray(result).reshape(result.shape)


def _cache_shape(value: GraphInput, batch: int, dimensions: Mapping[str, int]) -> list[int]:
    """The batch is what says so, or the first; the length of the past is the free dimension, or what says so, and is 0."""
    sizes = [dimensions.get(size, size) if isinstance(size, str) else size for size in value.shape]
    sizes = [batch if isinstance(size, str) and "batch" in size else size for size in sizes]
    if not isinstance(sizes[0], int):
        sizes[0] = batch
    free = [axis for axis, size in enumerate(sizes) if not isinstance(size, int)]
    for axis in free:
        if len(free) > 1 and not any(word in (sizes[axis] or "") for word in ("past", "seq", "len")):
            raise FeedError(f"the size of the dimension '{sizes[axis]}' of the input '{value.name}' is not known: the graph gives "
                            "no number")
        sizes[axis] = 0
    return sizes
