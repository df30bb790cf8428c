"""tokenizer.json rebuilt from GGUF metadata."""

import json
import unicodedata

import numpy as np
import pytest
from tokenizers import Tokenizer

from elutq.errors import ExportError
from elutq.export import export_model
from elutq.export.gguf_file import read_gguf
from elutq.export.gguf_tokenizer import special_ids, tokenizer_json
from tiny_gguf import BYTE_TOKENS, write_gguf
from tiny_models import CONFIGS, random_weights

TEXTS = [
    "The capital of France is", "Hello,  world!\n\n\tfoo  bar ", "  leading", "tabs\t\t\tand\r\nlines\n\n\n",
    "Привет, мир!", "日本語のテスト", "नमस्ते दुनिया", "مرحبا بالعالم", "สวัสดี", "한국어", "Ελληνικά", "🙂👩‍👩‍👧 flags 🇩🇪", "café naïve",
    "def f(x):\n    return x ** 2\n", "a\x00b\x7f", "<b>&amp;</b>", "1234567890 3.14", "\u0e33\u0301\ufffd", "𐍈𝔘", "",
]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def sentencepiece_metadata(**changes):
    """A SentencePiece vocabulary with bytes, a control token and a user-defined run of spaces."""
    pieces = ["▁", "a", "b", "c", "▁a", "ab", "abc", "▁ab", "bc", "é"]
    scores = {"▁a": -1.0, "bc": -2.0, "ab": -3.0, "▁ab": -4.0, "abc": -5.0}
    tokens = ["<unk>", "<s>", "</s>", *BYTE_TOKENS, *pieces, "  ", "<turn>"]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(pieces), USER_DEFINED, CONTROL]
    return {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.scores": [scores.get(token, -1000.0) for token in tokens], "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, **changes}


def load(metadata, tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(metadata)))
    return Tokenizer.from_file(str(tmp_path / "tokenizer.json"))


def test_merges_follow_the_scores(tmp_path):
    tokenizer = load(sentencepiece_metadata(**{"tokenizer.ggml.add_space_prefix": False}), tmp_path)
    # "▁a" (-1) first, then "bc" (-2): "▁a" + "bc", though "▁ab" and "abc" exist.
    assert tokenizer.encode(" abc").tokens == ["<s>", "▁a", "bc"]
    assert tokenizer.encode("abc").tokens == ["<s>", "abc"]  # of "a" and "bc"; "ab" comes too late
    assert tokenizer.encode("abcc").tokens == ["<s>", "abc", "c"]
    assert tokenizer.encode("ab").tokens == ["<s>", "ab"]
    assert tokenizer.encode("aab", add_special_tokens=False).tokens == ["a", "ab"]


def test_space_prefix(tmp_path):
    with_prefix = load(sentencepiece_metadata(), tmp_path)
    assert with_prefix.encode("abc").tokens == ["<s>", "▁a", "bc"]
    assert with_prefix.decode(with_prefix.encode("abc").ids) == "abc"
    without = load(sentencepiece_metadata(**{"tokenizer.ggml.add_space_prefix": False}), tmp_path)
    assert without.decode(without.encode(" abc").ids) == " abc"


def test_bytes_and_added_tokens(tmp_path):
    tokenizer = load(sentencepiece_metadata(**{"tokenizer.ggml.add_space_prefix": False}), tmp_path)
    assert tokenizer.encode("é€", add_special_tokens=False).tokens == ["é", "<0xE2>", "<0x82>", "<0xAC>"]
    assert tokenizer.decode(tokenizer.encode("é€").ids) == "é€"
    encoded = tokenizer.encode("a  b<turn>c", add_special_tokens=False)
    assert encoded.tokens == ["a", "  ", "b", "<turn>", "c"]
    assert tokenizer.decode(encoded.ids) == "a  bc"
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == "a  b<turn>c"


@pytest.mark.parametrize("add_bos, add_eos, expected", [
    (True, False, ["<s>", "a"]), (False, False, ["a"]), (True, True, ["<s>", "a", "</s>"]), (False, True, ["a", "</s>"])])
def test_tokens_around_a_text(add_bos, add_eos, expected, tmp_path):
    tokenizer = load(sentencepiece_metadata(**{
        "tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.add_bos_token": add_bos,
        "tokenizer.ggml.add_eos_token": add_eos}), tmp_path)
    assert tokenizer.encode("a").tokens == expected
    assert tokenizer.encode("a", add_special_tokens=False).tokens == ["a"]


def byte_level_alphabet():
    from tokenizers.pre_tokenizers import ByteLevel
    return sorted(ByteLevel.alphabet())


@pytest.mark.parametrize("pre", ["llama-bpe", "qwen2", "gpt-2", "tekken"])
def test_byte_level(pre, tmp_path):
    alphabet = byte_level_alphabet()
    tokens = [*alphabet, "Ġa", "ab", "12", "Ġab", "<|im_end|>", "<tool>"]
    types = [*[NORMAL] * (len(tokens) - 2), CONTROL, USER_DEFINED]
    metadata = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
                "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": ["a b", "1 2", "Ġ a", "Ġ ab"],
                "tokenizer.ggml.eos_token_id": 3}
    tokenizer = load(metadata, tmp_path)
    assert tokenizer.encode("ab ab<tool>").tokens == ["ab", "Ġab", "<tool>"]
    # qwen2 and tekken cut every digit off before merges are tried.
    assert tokenizer.encode("123").tokens == (["1", "2", "3"] if pre in ("qwen2", "tekken") else ["12", "3"])
    for text in TEXTS:
        expected = unicodedata.normalize("NFC", text) if pre == "qwen2" else text
        assert tokenizer.decode(tokenizer.encode(text).ids) == expected
    with_bos = load({**metadata, "tokenizer.ggml.bos_token_id": len(tokens) - 2}, tmp_path)
    assert (with_bos.encode("ab").tokens[0] == "<|im_end|>") == (pre in ("llama-bpe", "tekken"))
    assert special_ids(metadata)["eos_token_id"] == [3, tokens.index("<|im_end|>")]


@pytest.mark.parametrize("change, message", [
    ({"tokenizer.ggml.model": "bert"}, "the GGUF tokenizer 'bert' is not supported"),
    ({"tokenizer.ggml.scores": [0.0]}, "not as long as"),
    ({"tokenizer.ggml.token_type": [1, 1]}, "not as long as"),
    ({"tokenizer.ggml.tokens": 5}, "lacks 'tokenizer.ggml.tokens'"),
    ({"tokenizer.ggml.model": "gpt2"}, "lacks 'tokenizer.ggml.merges'"),
    ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": ["ab"]}, "expected two pieces"),
    ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": [], "tokenizer.ggml.pre": "x"}, "pre-tokenizer 'x'"),
])
def test_refused_metadata(change, message):
    with pytest.raises(ExportError, match=message):
        tokenizer_json(sentencepiece_metadata(**change))


def test_files_of_an_export(tmp_path):
    config = {**CONFIGS["llama"], "vocab_size": 271}
    metadata = sentencepiece_metadata(**{"tokenizer.chat_template": "{{ bos_token }}"})
    write_gguf(tmp_path / "m.gguf", config, random_weights(config, seed=1), tokenizer=metadata)
    export_model(tmp_path / "m.gguf", tmp_path / "onnx")
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == [
        "chat_template.jinja", "config.json", "model.onnx", "model.onnx.data", "tokenizer.json"]
    assert (tmp_path / "onnx" / "chat_template.jinja").read_text() == "{{ bos_token }}"
    written = json.loads((tmp_path / "onnx" / "config.json").read_text())
    assert (written["bos_token_id"], written["eos_token_id"]) == (1, 2)
    assert Tokenizer.from_file(str(tmp_path / "onnx" / "tokenizer.json")).get_vocab_size() == 271


@pytest.fixture(scope="module")
def gemma_tokenizer(gemma_onnx):
    return Tokenizer.from_file(str(gemma_onnx / "tokenizer.json"))


def test_gemma_ids(gemma_tokenizer):
    assert gemma_tokenizer.encode("The capital of France is").ids == [2, 818, 5279, 529, 7001, 563]
    assert gemma_tokenizer.encode("<start_of_turn>user\nhi<end_of_turn>").tokens == [
        "<bos>", "<start_of_turn>", "user", "\n", "hi", "<end_of_turn>"]
    assert gemma_tokenizer.get_vocab_size() == 262144


@pytest.mark.parametrize("text", TEXTS)
def test_gemma_round_trip(text, gemma_tokenizer):
    assert gemma_tokenizer.decode(gemma_tokenizer.encode(text).ids) == text


def test_gemma_joins_like_sentencepiece(gemma_tokenizer, gguf_path):
    """A direct simulation of SentencePiece: always join the neighbours whose union has the highest score, leftmost first."""
    metadata, _ = read_gguf(gguf_path)
    scores = {
        token: score for token, score, kind in zip(*(metadata[f"tokenizer.ggml.{key}"] for key in ("tokens", "scores", "token_type")))
        if kind == NORMAL}
    words = sorted(word for word in scores if "<" not in word and word.isprintable())
    rng = np.random.default_rng(1)
    checked = 0
    for _ in range(400):
        text = "".join(words[i] for i in rng.integers(0, len(words), 3)).replace("▁", " ")
        pieces = list(text.replace(" ", "▁"))
        if "  " in text or not all(piece in scores for piece in pieces):
            continue  # runs of spaces are tokens of their own; unknown characters become bytes
        while True:
            unions = [(-scores[a + b], i) for i, (a, b) in enumerate(zip(pieces, pieces[1:])) if a + b in scores]
            if not unions:
                break
            i = min(unions)[1]
            pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]
        assert gemma_tokenizer.encode(text, add_special_tokens=False).tokens == pieces
        checked += 1
    assert checked > 200
