"""Decoders for several texts at once: as networks, whose texts are padded on either side, they go on as each text does alone."""

from pathlib import Path
from typing import Callable

import numpy as np
import onnxruntime
import pytest

import elutq
from torch_graphs import write_model

# The longest prompt, and the slots of the past in the steps behind it.
LONGEST, SLOTS, STEPS = 11, 32, 8
PROMPTS = [np.random.default_rng(7).integers(3, 64, length) for length in (5, LONGEST, 8)]
HEAD_SIZE = 16

# The names of batch, sequence, past, and of the attention mask's length where it is no sum of the two before.
DYNAMO, OPTIMUM = ("batch", "sequence", "past", "s53"), ("batch_size", "sequence_length", "past_sequence_length")
GRAPHS = {"dynamo-18-llama3": DYNAMO, "dynamo-18-mixtral": DYNAMO, "dynamo-23-smollm3": DYNAMO, "optimum-llama3": OPTIMUM, "optimum-opt": OPTIMUM}

Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


def shape(names: tuple[str, ...], sequence: int, past: int) -> str:
    return "--shape=" + ",".join(f"{name}={size}" for name, size in zip(names, (len(PROMPTS), sequence, past, past + sequence)))


def continue_texts(run: Run, pasts: dict[str, int], left: bool) -> list[list[int]]:
    """STEPS greedy tokens behind each of PROMPTS, all in one batch. `pasts`: the heads of each input of the past.

    The first step has a past of one position and the others one of SLOTS, of which the last ones are used: the mask hides the rest.
    """
    count, lengths = len(PROMPTS), np.array(list(map(len, PROMPTS)))
    ids, mask = np.zeros((2, count, LONGEST), np.int64)
    for row, prompt in enumerate(PROMPTS):
        place = slice(LONGEST - len(prompt), None) if left else slice(0, len(prompt))
        ids[row, place], mask[row, place] = prompt, 1
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)
    past = {name: np.zeros((count, heads, 1, HEAD_SIZE), np.float32) for name, heads in pasts.items()}
    visible = np.pad(mask, ((0, 0), (1, 0)))
    logits, *present = run({"input_ids": ids, "attention_mask": visible, "position_ids": positions, **past})
    tokens = [logits[range(count), LONGEST - 1 if left else lengths - 1].argmax(-1)]
    unused = SLOTS - visible.shape[1]
    past = {name: np.pad(values, ((0, 0), (0, 0), (unused, 0), (0, 0))) for name, values in zip(past, present)}
    visible = np.pad(visible, ((0, 0), (unused, 0)))
    for step in range(STEPS - 1):
        visible = np.pad(visible, ((0, 0), (0, 1)), constant_values=1)
        logits, *present = run({"input_ids": tokens[-1][:, None], "attention_mask": visible, "position_ids": (lengths + step)[:, None], **past})
        tokens.append(logits[:, -1].argmax(-1))
        past, visible = {name: values[:, :, 1:] for name, values in zip(past, present)}, visible[:, 1:]
    return np.transpose(tokens).tolist()


def continue_alone(path: Path, quantize: str) -> list[list[int]]:
    """The same by the model with a cache, one prompt after the other."""
    library = path.with_name("libalone.so")
    elutq.compile(path, path.with_name("alone"), emit="lib", quantize=quantize, arguments=["--chunk=8", "--kv-cache=f32", "--max-context=64"])
    session, texts = elutq.Model(library).session(), []
    for prompt in PROMPTS:
        session.reset()
        text = [int(session.prefill(prompt).argmax())]
        while len(text) < STEPS:
            text.append(int(session.decode(text[-1]).argmax()))
        texts.append(text)
    return texts


# Where two experts are about as good, the number of rows that are multiplied at once may decide.
@pytest.mark.parametrize("name, quantize", [(name, quantize) for name in GRAPHS for quantize in ("none", "hlq:bits=4,group=32")
                                            if quantize == "none" or "mixtral" not in name])
def test_padding_on_either_side(name, quantize, compiler, tmp_path):
    path, names = tmp_path / "model.onnx", GRAPHS[name]
    write_model(name, path)
    elutq.compile(path, tmp_path / "batch.so", emit="graph", quantize=quantize, arguments=[shape(names, LONGEST, 1), shape(names, 1, SLOTS)])
    graph = elutq.Graph(tmp_path / "batch.so", threads=2)
    assert [value.name for value in graph.outputs][:1] == ["logits"]
    inputs = [value.name for value in graph.inputs]
    pasts = {value.name: value.shape[1] for value in graph.inputs if "past" in value.name}
    expected = continue_alone(path, quantize)
    # Texts that all repeat one token would agree by chance.
    assert len({tuple(text) for text in expected}) == len(PROMPTS) and len({token for text in expected for token in text}) > 3
    for left in (True, False):
        assert continue_texts(lambda feeds: graph.run({key: feeds[key] for key in inputs}), pasts, left) == expected
    if quantize == "none":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert continue_texts(lambda feeds: session.run(None, {key: feeds[key] for key in inputs}), pasts, left=True) == expected


def test_lengths_have_to_fit(compiler, tmp_path):
    """A sum of dimensions is known from its terms, and what has it must be that long."""
    write_model("optimum-llama3", tmp_path / "model.onnx")
    elutq.compile(tmp_path / "model.onnx", tmp_path / "batch.so", emit="graph", arguments=[shape(OPTIMUM, 2, 4)])
    graph = elutq.Graph(tmp_path / "batch.so")
    feeds = {value.name: np.zeros([{**dict(zip(OPTIMUM, (3, 2, 4))), " + ".join(reversed(OPTIMUM[1:])): 6}.get(dim, dim) for dim in value.shape], value.dtype)
             for value in graph.inputs}
    assert graph.run(feeds)[0].shape == (3, 2, 80)
    feeds["attention_mask"] = feeds["attention_mask"][:, 1:]
    with pytest.raises(elutq.GraphError, match="past_sequence_length \\+ sequence_length=5.*cannot be padded"):
        graph.run(feeds)
