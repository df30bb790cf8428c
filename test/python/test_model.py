"""elutq.Model over the C interface: with the runtime's fake model, whose logits hash all tokens read so far."""

import gc
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import elutq
from conftest import ROOT
from elutq.cli import main

BUILD = Path(os.environ.get("ELUTQ_BUILD_DIR", ROOT / "build" / "release"))
VOCABULARY, CONTEXT, BOS, EOS, AB = 300, 40, 257, 258, 256
WEIGHTS = b"0123456789abcdef"


@pytest.fixture(scope="module")
def library() -> Path:
    path = BUILD / "lib" / "libelutq-fake.so"
    if not path.is_file() or not path.with_name("elutq-fake.weights").is_file():
        pytest.skip("the runtime's fake model is not built")
    return path


@pytest.fixture
def model(library):
    with elutq.Model(library, threads=2) as model:
        yield model


def expected_logits(tokens) -> np.ndarray:
    """What the fake model computes."""
    result = np.empty(VOCABULARY, np.float32)
    for v in range(VOCABULARY):
        state = v
        for token in tokens:
            state = ((state ^ token) * 0x9E3779B97F4A7C15 + WEIGHTS[v % 16]) % 2**64
        result[v] = np.float32(state >> 40) / np.float32(65536)
    return result


def test_info(model):
    assert (model.vocab_size, model.max_context) == (VOCABULARY, CONTEXT)
    assert model.info["threads"] == 2 and model.info["weights_bytes"] == 16 and model.info["has_tokenizer"] == 1
    assert model.meta["name"] == "fake"
    assert model.is_stop(EOS) and not model.is_stop(BOS)


def test_paths(library, tmp_path):
    for file in (library, library.with_name("elutq-fake.weights")):
        shutil.copy(file, tmp_path)
    for path in (tmp_path, tmp_path / "elutq-fake.weights", str(tmp_path / library.name)):
        assert elutq.Model(path).vocab_size == VOCABULARY


def test_tokens(model):
    assert model.tokenize("ab c") == [BOS, AB, ord(" "), ord("c")]
    ids = model.tokenize("ab \u20ac<eos>", bos=False)
    assert ids[0] == AB and ids[-1] == EOS and len(ids) == 6
    assert model.detokenize(ids) == "ab \u20ac"
    assert model.detokenize(ids, keep_special=True) == "ab \u20ac<eos>"
    assert EOS not in model.tokenize("<eos>", plain_special=True)
    assert model.tokenize("", bos=False) == [] and model.detokenize([]) == ""
    long = "x" * 5000
    assert model.detokenize(model.tokenize(long)) == long


def test_logits(model):
    session = model.session()
    with pytest.raises(elutq.RuntimeFailure, match="before the first token"):
        session.logits
    prompt = [5, 299, 0, 17, 17, 5, 44, 9, 30, 31, 2]
    first = session.prefill(prompt)
    assert first.dtype == np.float32 and first.shape == (VOCABULARY,)
    np.testing.assert_array_equal(first, expected_logits(prompt))
    np.testing.assert_array_equal(session.decode(7), expected_logits([*prompt, 7]))
    np.testing.assert_array_equal(first, expected_logits(prompt))  # a copy, not the session's memory
    assert session.position == len(prompt) + 1
    session.reset()
    assert session.position == 0
    np.testing.assert_array_equal(session.prefill(np.array(prompt, np.int32)), first)


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_results_do_not_depend_on_chunks(chunk, model):
    session = model.session(prefill_chunk=chunk, threads=1)
    assert session.threads == 1
    np.testing.assert_array_equal(session.prefill(range(20)), expected_logits(range(20)))


def test_greedy_generation(model):
    tokens = [BOS, 3, 1]
    expected = []
    for _ in range(6):
        expected.append(int(expected_logits(tokens + expected).argmax()))
    assert list(model.session().generate(tokens, 6, stop=False)) == expected
    text = model.detokenize(expected)
    assert model.generate(tokens, 6, stop=False) == text
    assert "".join(model.stream(tokens, 6, stop=False)) == text


def test_generation_ends_with_the_context(model):
    session = model.session()
    assert len(list(session.generate([1] * (CONTEXT - 3), 100, stop=False))) == 4
    assert session.position == CONTEXT


def test_sampling(model):
    def sample(**parameters):
        return list(model.session().generate([1, 2, 3], 12, stop=False, temperature=50.0, **parameters))

    assert sample(seed=1) == sample(seed=1) != sample(seed=2)
    assert sample(seed=3, top_k=1) == list(model.session().generate([1, 2, 3], 12, stop=False))
    with pytest.raises(TypeError, match="unknown sampling parameter 'temprature'"):
        model.generate("a", 1, temprature=1.0)
    with pytest.raises(elutq.RuntimeFailure):
        model.generate("a", 1, temperature=-1.0)


def test_state(model):
    session = model.session()
    session.prefill([4, 5, 6])
    state = session.save_state()
    after = session.decode(7)
    other = model.session()
    other.restore_state(state)
    assert other.position == 3
    np.testing.assert_array_equal(other.logits, expected_logits([4, 5, 6]))
    np.testing.assert_array_equal(other.decode(7), after)
    for bad in (b"", state[:-1], state[:8] + bytes([state[8] ^ 1]) + state[9:]):
        with pytest.raises(elutq.RuntimeFailure):
            other.restore_state(bad)
    assert other.position == 4


def test_refused_arguments(model):
    session = model.session()
    for tokens in ([], [VOCABULARY], [-1], [1.5], [[1]], list(range(CONTEXT + 1))):
        with pytest.raises(elutq.RuntimeFailure):
            session.prefill(tokens)
    with pytest.raises(elutq.RuntimeFailure):
        session.decode(VOCABULARY)
    assert session.position == 0


def test_sessions_outlive_their_model(library):
    session = elutq.Model(library).session()
    session.model.close()
    gc.collect()
    np.testing.assert_array_equal(session.prefill([1, 2]), expected_logits([1, 2]))


def test_refused_libraries(library, tmp_path):
    with pytest.raises(elutq.RuntimeFailure, match="does not exist"):
        elutq.Model(tmp_path / "libx.so")
    with pytest.raises(elutq.RuntimeFailure, match="holds 0 libraries"):
        elutq.Model(tmp_path)
    (tmp_path / "libx.so").write_bytes(b"no library")
    with pytest.raises(elutq.RuntimeFailure, match="cannot be loaded"):
        elutq.Model(tmp_path / "libx.so")
    shutil.copy(library, tmp_path / library.name)
    with pytest.raises(elutq.RuntimeFailure, match="elutq-fake.weights"):
        elutq.Model(tmp_path / library.name)
    data = bytearray(library.with_name("elutq-fake.weights").read_bytes())
    data[data.index(WEIGHTS)] ^= 1
    (tmp_path / "elutq-fake.weights").write_bytes(data)
    # Weights are checked when the first token is read.
    with pytest.raises(elutq.RuntimeFailure, match="checksum"):
        elutq.Model(tmp_path / library.name).generate("ab", 1)


def test_run_command(library, capsys):
    assert main(["run", str(library), "-p", "ab", "-n", "5", "--temperature", "2", "--seed", "4"]) == 0
    expected = elutq.Model(library).generate("ab", 5, temperature=2.0, seed=4)
    assert capsys.readouterr().out == expected + "\n"
    assert main(["run", str(library.with_name("nothing.so")), "-p", "ab"]) == 1
    assert capsys.readouterr().err.startswith("elutq: error: ")
