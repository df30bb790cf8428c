"""Texts to windows of tokens, and the feeds of graphs."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tokenizers import Tokenizer, decoders, models, processors

from elutq.errors import FeedError, TextError
from elutq.feeds import GraphInput, graph_inputs, make_feeds, model_dimensions
from elutq.text import check_vocabulary, default_text, open_tokenizer, read_windows


def write_tokenizer(folder: Path, template: bool, config: dict | None = None) -> Path:
    """One token per printable character, "^" the one that begins texts."""
    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(models.BPE(vocab={chr(i + 32): i for i in range(95)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(single="^ $A", special_tokens=[("^", ord("^") - 32)])
    tokenizer.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def ids(text: str) -> list[int]:
    return [ord(letter) - 32 for letter in text]


def test_windows(tmp_path):
    tokenizer = open_tokenizer(write_tokenizer(tmp_path / "t", template=True))
    windows = read_windows("abcdefgh", tokenizer, window=4, count=9)
    assert windows.dtype == np.int64 and windows.tolist() == [ids("^abc"), ids("^efg")]
    assert read_windows("abcdefgh", tokenizer, window=4, count=1, bos="always").tolist() == [ids("^abc")]
    assert read_windows("abcdefgh", tokenizer, window=4, bos="never").tolist() == [ids("abcd"), ids("efgh")]


def test_who_tells_the_bos_token(tmp_path):
    tokenizer = open_tokenizer(write_tokenizer(tmp_path / "config", template=False, config={"bos_token_id": 7}) / "tokenizer.json")
    assert read_windows("abc", tokenizer, window=3).tolist() == [ids("abc")]
    assert read_windows("abc", tokenizer, window=3, bos="always").tolist() == [[7, *ids("ab")]]
    nobody = open_tokenizer(write_tokenizer(tmp_path / "nobody", template=False) / "model.onnx")
    with pytest.raises(TextError, match="does not tell the BOS token"):
        read_windows("abc", nobody, window=3, bos="always")


def test_files(tmp_path):
    tokenizer = open_tokenizer(write_tokenizer(tmp_path, template=False))
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbfabcdef")
    assert read_windows(tmp_path / "text.txt", tokenizer, window=3).tolist() == [ids("abc"), ids("def")]
    np.save(tmp_path / "flat.npy", np.arange(7, dtype=np.int32))
    assert read_windows(tmp_path / "flat.npy", tokenizer, window=3).tolist() == [[0, 1, 2], [3, 4, 5]]
    begun = open_tokenizer(write_tokenizer(tmp_path / "begun", template=True))
    for text in ("abcde", "^abcde"):  # Tokens that begin with BOS get no second one.
        np.save(tmp_path / "flat.npy", ids(text))
        assert read_windows(tmp_path / "flat.npy", begun, window=3).tolist() == [ids("^ab"), ids("^de")]
    np.save(tmp_path / "windows.npy", np.arange(15).reshape(3, 5))
    assert read_windows(tmp_path / "windows.npy", None, count=2).tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_long_text_is_not_read_to_its_end(tmp_path):
    class Counting:
        name, prefix, bos, longest = "counting", (), None, 0

        def encode(self, text):
            self.longest = max(self.longest, len(text))
            return np.frombuffer(text.encode(), np.uint8).astype(np.int64)

    tokenizer, text = Counting(), "".join(f"{i}\n" for i in range(100_000))
    windows = read_windows(text, tokenizer, window=50, count=3)
    assert windows.ravel().tolist() == list(text[:150].encode())
    assert tokenizer.longest < 10_000


@pytest.mark.parametrize("content, options, message", [
    (b"", {}, "is empty"), (b" \n", {}, "is empty"), (b"abc\xff", {}, "not UTF-8: the byte 0xff at offset 3"),
    (b"abc", {"window": 4}, "has 3 tokens, but a window needs 4"), (b"abc", {"window": 1}, "window of 1 tokens"),
    (b"abc", {"window": 2, "count": 0}, "number of windows is 0"), (b"abc", {"window": 2, "bos": "maybe"}, "bos is 'maybe'"),
    (b"abz", {"window": 3, "vocabulary": 80}, "tokenizer.json gives the token id 90, but the model's vocabulary has 80 tokens"),
])
def test_refused_texts(tmp_path, content, options, message):
    tokenizer = open_tokenizer(write_tokenizer(tmp_path, template=False))
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(TextError, match=message):
        read_windows(tmp_path / "text.txt", tokenizer, **options)


def test_refused_files(tmp_path):
    with pytest.raises(TextError, match="there is no '.*tokenizer.json'"):
        open_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TextError, match="is no tokenizer"):
        open_tokenizer(tmp_path)
    for array in (np.zeros(3), np.zeros((1, 1, 1), int), np.array([{}])):
        np.save(tmp_path / "x.npy", array, allow_pickle=True)
        with pytest.raises(TextError, match="x.npy"):
            read_windows(tmp_path / "x.npy", None)
    with pytest.raises(TextError, match="token id -1"):
        check_vocabulary(np.array([3, -1]), 10, "x")


def test_default_texts():
    texts = [default_text(purpose) for purpose in ("evaluation", "calibration")]
    assert texts == [default_text(purpose) for purpose in ("evaluation", "calibration")]
    assert all(len(text) > 100_000 and name.startswith("the descriptions of") for text, name in texts)


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def test_feeds_of_every_known_input():
    cache = ["batch", 2, "past_sequence_length", 8]
    values = [value("input_ids", TensorProto.INT32, ["batch", "sequence"]), value("position_ids", TensorProto.INT64, ["batch", "s"]),
              value("cache_position", TensorProto.INT64, ["sequence"]), value("attention_mask", TensorProto.INT64, ["batch", "total"]),
              value("token_type_ids", TensorProto.INT64, ["batch", "sequence"]), value("past_key_values.0.key", TensorProto.FLOAT16, cache),
              value("past_0", TensorProto.FLOAT, [2, "batch", 2, "past", 8]), value("total_sequence_length", TensorProto.INT32, []),
              value("use_cache_branch", TensorProto.BOOL, [1])]
    feeds = make_feeds(graph_inputs(values), np.array([[5, 6, 7], [1, 2, 3]]))
    expected = {"input_ids": np.array([[5, 6, 7], [1, 2, 3]], np.int32), "position_ids": np.array([[0, 1, 2]] * 2),
                "cache_position": np.arange(3), "attention_mask": np.ones((2, 3), np.int64),
                "token_type_ids": np.zeros((2, 3), np.int64), "past_key_values.0.key": np.zeros((2, 2, 0, 8), np.float16),
                "past_0": np.zeros((2, 2, 2, 0, 8), np.float32), "total_sequence_length": np.array(3, np.int32),
                "use_cache_branch": np.array([False])}
    assert list(feeds) == list(expected)
    for name, array in expected.items():
        assert feeds[name].dtype == array.dtype and feeds[name].flags.c_contiguous
        np.testing.assert_array_equal(feeds[name], array, err_msg=name)


def test_feeds_run(tiny_model):
    session = onnxruntime.InferenceSession(str(tiny_model), providers=["CPUExecutionProvider"])
    inputs = graph_inputs(session.get_inputs())
    assert inputs == graph_inputs(onnx.load(tiny_model).graph.input)
    (logits,) = session.run(["logits"], make_feeds(inputs, np.arange(5)))
    assert logits.shape == (1, 5, 96)


def test_dimensions_of_the_model_builder(tmp_path):
    (tmp_path / "genai_config.json").write_text(json.dumps(
        {"model": {"decoder": {"head_size": 32, "sliding_window": {"window_size": 16}}}}))
    dimensions = model_dimensions(tmp_path / "model.onnx")
    shape = ("batch_size", 1, "past_sliding_length", "kv_cache_dim")
    inputs = [GraphInput("input_ids", np.dtype(np.int64), ("batch", "n")), GraphInput("past_key_values.0.key", np.dtype(np.float32), shape)]
    assert make_feeds(inputs, np.arange(3), dimensions)["past_key_values.0.key"].shape == (1, 1, 16, 32)
    with pytest.raises(FeedError, match="dimension 'kv_cache_dim' of the input 'past_key_values.0.key' is not known"):
        make_feeds(inputs, np.arange(3), model_dimensions(tmp_path / "elsewhere" / "model.onnx"))


@pytest.mark.parametrize("name, shape, message", [
    ("pixel_values", (1, 3, 8, 8), "the input 'pixel_values' .* is none that token ids can fill"),
    ("attention_mask", (1, 1, 3, 3), "the input 'attention_mask'"), ("position_ids", (1, 8), "fixed shape"),
])
def test_inputs_that_cannot_be_filled(name, shape, message):
    tokens = GraphInput("input_ids", np.dtype(np.int64), ("batch", "sequence"))
    with pytest.raises(FeedError, match=message):
        make_feeds([tokens, GraphInput(name, np.dtype(np.int64), shape)], np.arange(3))
    with pytest.raises(FeedError, match="no input for token ids"):
        make_feeds([GraphInput("position_ids", np.dtype(np.int64), (1, 3))], np.arange(3))


def test_input_types_that_cannot_be_fed():
    session_input = type("Value", (), {"name": "x", "type": "tensor(string)", "shape": [1]})()
    with pytest.raises(FeedError, match=r"the input 'x' has the type tensor\(string\)"):
        graph_inputs([session_input])
