"""ONNX operators as functions of torch tensors, differentiable where they are.

Each takes the node's attributes and its inputs (None where one is left out), and returns one tensor or a tuple. Products and attention
compute in `Attributes.precision`; everything else in the type that its inputs have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from ..errors import FinetuneError

Result = Tensor | tuple[Tensor, ...]
Operator = Callable[..., Result]


@dataclass(frozen=True)
class Attributes:
    """A node's attributes, and how products are computed."""

    node: str
    values: dict[str, Any]
    precision: torch.dtype
    outputs: int

    def get(self, name: str, default: Any = None) -> Any:
        value = self.values.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def refuse(self, what: str) -> FinetuneError:
        return FinetuneError(f"node '{self.node}': {what} is not supported by finetune")


def to_tensor(array: np.ndarray) -> Tensor:
    """A copy of an array as a tensor, bfloat16 included."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, order="C"))


# Element types by ONNX's numbers.
_TYPES = {TensorProto.FLOAT: torch.float32, TensorProto.FLOAT16: torch.float16, TensorProto.BFLOAT16: torch.bfloat16,
          TensorProto.DOUBLE: torch.float64, TensorProto.INT64: torch.int64, TensorProto.INT32: torch.int32,
          TensorProto.BOOL: torch.bool, TensorProto.UINT8: torch.uint8, TensorProto.INT8: torch.int8}


def _ints(value: Tensor | None) -> list[int] | None:
    return None if value is None else [int(entry) for entry in value.reshape(-1).tolist()]


# Products.

def multiply(x: Tensor, weights: Tensor, precision: torch.dtype) -> Tensor:
    """x @ weights in `precision`, the result in x's type."""
    if x.dtype == torch.float32 and precision != torch.float32:
        return (x.to(precision) @ weights.to(precision)).to(x.dtype)
    return x @ weights.to(x.dtype)


def _matmul(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return multiply(x, y, a.precision)


def _gemm(a: Attributes, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    x, y = (x.T if a.get("transA") else x), (y.T if a.get("transB") else y)
    result = multiply(x, y, a.precision) * a.get("alpha", 1.0)
    return result if bias is None else result + a.get("beta", 1.0) * bias


def _attention(a: Attributes, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, past_key: Tensor | None = None,
               past_value: Tensor | None = None, *lengths: Tensor | None) -> Result:
    """Attention of opset 23: [B, H, S, D] or [B, S, H * D]; the cache comes before new keys and values."""
    if any(length is not None for length in lengths) or a.outputs > 3:
        raise a.refuse("Attention with lengths of the cache, or with its scores as output")
    is_flat = q.dim() == 3
    if is_flat:
        heads = (a.get("q_num_heads"), a.get("kv_num_heads"), a.get("kv_num_heads"))
        q, k, v = (x.unflatten(2, (count, -1)).transpose(1, 2) for x, count in zip((q, k, v), heads))
    past = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = (torch.cat([old, new], 2) if past else new for old, new in ((past_key, k), (past_value, v)))
    present_key, present_value = k, v
    if (repeats := q.shape[1] // k.shape[1]) > 1:
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    if a.get("is_causal"):
        causal = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(past)
        if mask is None:
            mask = causal
        elif mask.dtype == torch.bool:
            mask = mask & causal
        else:
            mask = mask.masked_fill(~causal, float("-inf"))
    scale = a.get("scale") or q.shape[-1] ** -0.5
    wide, softcap = q.dtype, a.get("softcap", 0.0)
    q, k, v = (x.to(a.precision) if wide == torch.float32 else x for x in (q, k, v))
    if softcap:
        scores = softcap * torch.tanh((q * scale) @ k.transpose(2, 3) / softcap)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask.to(scores.dtype)
        result = scores.float().softmax(-1).to(v.dtype) @ v
    else:
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(q.dtype)
        result = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    result = result.to(wide)
    return (result.transpose(1, 2).flatten(2) if is_flat else result), present_key, present_value


def _rotary(a: Attributes, x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None) -> Tensor:
    """RotaryEmbedding of opset 23: [B, H, S, D], or [B, S, H * D] with num_heads."""
    is_flat = x.dim() == 3
    if is_flat:
        x = x.unflatten(2, (a.get("num_heads"), -1)).transpose(1, 2)
    if positions is not None:
        cos, sin = cos[positions], sin[positions]
    width = a.get("rotary_embedding_dim", 0) or x.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    cos, sin = cos[:, None, :, :width // 2], sin[:, None, :, :width // 2]
    if a.get("interleaved"):
        first, second = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2)
    else:
        first, second = turned.chunk(2, -1)
        turned = torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
    result = torch.cat([turned, rest], -1) if rest.shape[-1] else turned
    return result.transpose(1, 2).flatten(2) if is_flat else result


# Norms and activations.

def _axes_from(a: Attributes, x: Tensor) -> list[int]:
    return list(range(a.get("axis", -1) % x.dim(), x.dim()))


def _rms_norm(a: Attributes, x: Tensor, scale: Tensor) -> Tensor:
    wide = x.float()
    norm = wide * torch.rsqrt(wide.square().mean(_axes_from(a, x), keepdim=True) + a.get("epsilon", 1e-5))
    return norm.to(x.dtype) * scale


def _layer_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    if a.outputs > 1:
        raise a.refuse("LayerNormalization with its mean as output")
    axes, wide = _axes_from(a, x), x.float()
    centred = wide - wide.mean(axes, keepdim=True)
    result = (centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + a.get("epsilon", 1e-5))).to(x.dtype) * scale
    return result if bias is None else result + bias


def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


# Shapes and indices.

def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = _ints(shape)
    assert sizes is not None
    if not a.get("allowzero"):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _unsqueeze(a: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    found = _ints(axes)
    assert found is not None
    rank = x.dim() + len(found)
    for axis in sorted(axis % rank for axis in found):
        x = x.unsqueeze(axis)
    return x


def _squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = _ints(axes)
    return x.squeeze() if found is None else x.squeeze(tuple(found))


def _shape(a: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[slice(a.get("start", 0), a.get("end"))], dtype=torch.int64)


def _gather(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.dim()
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    found = x.index_select(axis, indices.reshape(-1).to(x.device))
    return found.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1:])


def _slice(a: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    first, last = _ints(starts), _ints(ends)
    assert first is not None and last is not None
    along, strides = _ints(axes) or list(range(len(first))), _ints(steps) or [1] * len(first)
    for axis, start, end, step in zip(along, first, last, strides):
        if step < 0:
            raise a.refuse("Slice with a negative step")
        index = [slice(None)] * x.dim()
        index[axis % x.dim()] = slice(start, end, step)
        x = x[tuple(index)]
    return x


def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> Result:
    axis, found = a.get("axis", 0), _ints(sizes)
    return tuple(torch.split(x, found if found else -(-x.shape[axis] // a.get("num_outputs", a.outputs)), axis))


def _range(a: Attributes, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype)


def _expand(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(_ints(shape) or ())))


def _reduce_mean(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.mean(_ints(axes) or list(range(x.dim())), keepdim=bool(a.get("keepdims", 1)))


def _constant(a: Attributes) -> Tensor:
    for name in ("value", "value_int", "value_ints", "value_float", "value_floats"):
        if name in a.values:
            value = a.values[name]
            if name == "value":
                return to_tensor(numpy_helper.to_array(value)).to(torch.get_default_device())
            return torch.tensor(value, dtype=torch.int64 if "int" in name else torch.float32)
    raise a.refuse("a Constant without a numeric value")


def _cast(a: Attributes, x: Tensor) -> Tensor:
    if a.get("to") not in _TYPES:
        raise a.refuse(f"a Cast to {helper.tensor_dtype_to_string(a.get('to'))}")
    return x.to(_TYPES[a.get("to")])


def _plain(function: Callable[..., Tensor]) -> Operator:
    """An operator without attributes."""
    return lambda a, *inputs: function(*inputs)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


OPERATORS: dict[str, Operator] = {
    "Add": _plain(torch.add), "And": _plain(torch.logical_and), "Attention": _attention, "Cast": _cast, "Clip": _clip,
    "Concat": lambda a, *inputs: torch.cat(inputs, a.get("axis")), "Constant": _constant, "Cos": _plain(torch.cos),
    "Div": _plain(_divide), "Equal": _plain(torch.eq), "Erf": _plain(torch.erf), "Exp": _plain(torch.exp), "Expand": _expand,
    "Gather": _gather, "Gelu": lambda a, x: functional.gelu(x, approximate=a.get("approximate", "none")), "Gemm": _gemm,
    "Greater": _plain(torch.gt), "GreaterOrEqual": _plain(torch.ge), "Identity": _plain(lambda x: x),
    "LayerNormalization": _layer_norm, "Less": _plain(torch.lt), "LessOrEqual": _plain(torch.le), "Log": _plain(torch.log),
    "MatMul": _matmul, "Max": _plain(torch.maximum), "Min": _plain(torch.minimum), "Mul": _plain(torch.mul), "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not), "Or": _plain(torch.logical_or), "Pow": _plain(torch.pow), "RMSNormalization": _rms_norm,
    "Range": _range, "Reciprocal": _plain(torch.reciprocal), "ReduceMean": _reduce_mean, "Relu": _plain(torch.relu), "Reshape": _reshape,
    "RotaryEmbedding": _rotary, "Shape": _shape, "Sigmoid": _plain(torch.sigmoid), "Sin": _plain(torch.sin), "Slice": _slice,
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)), "Split": _split, "Sqrt": _plain(torch.sqrt), "Squeeze": _squeeze,
    "Sub": _plain(torch.sub), "Tanh": _plain(torch.tanh), "Transpose": lambda a, x: x.permute(a.get("perm", tuple(range(x.dim()))[::-1])),
    "Unsqueeze": _unsqueeze, "Where": _plain(torch.where),
}
