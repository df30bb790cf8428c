"""Unfinished work: what is complete is found again, what is not leaves no trace."""

import numpy as np
import pytest

from elutq.errors import QuantizeError
from elutq.quantization.workspace import Workspace

IDENTITY = {"model": "a", "options": {"bits": 2}}


def windows(count):
    rng = np.random.default_rng(3)
    return [{"x": rng.standard_normal((1, 4, 3), np.float32), "h": rng.standard_normal((4, 2)).astype(np.float16)}
            for _ in range(count)]


def test_kept(tmp_path):
    workspace, given = Workspace(tmp_path / "w", IDENTITY), windows(3)
    workspace.save("group-0", {"0.planes": np.arange(6, dtype=np.uint8)})
    workspace.save_activations("activations-0", iter(given), 3)
    again = Workspace(tmp_path / "w", IDENTITY)
    assert again.load("group-0")["0.planes"].tolist() == [0, 1, 2, 3, 4, 5]
    assert again.load("group-1") is None and again.activations("activations-1") is None
    held = again.activations("activations-0")
    for index, window in enumerate(given):
        for name, array in held.window(index).items():
            assert array.dtype == window[name].dtype
            np.testing.assert_array_equal(array, window[name])
    again.remove("activations-0")
    assert again.activations("activations-0") is None
    again.remove("activations-0")
    again.close()
    assert not (tmp_path / "w").exists()


def test_interrupted_between_windows(tmp_path):
    workspace = Workspace(tmp_path, IDENTITY)

    def stops():
        yield from windows(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.save_activations("activations-0", stops(), 3)
    assert workspace.activations("activations-0") is None
    assert (tmp_path / "activations-0.partial").exists()
    again = Workspace(tmp_path, IDENTITY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]
    again.save_activations("activations-0", windows(3), 3)
    assert again.activations("activations-0") is not None


def test_of_another_run(tmp_path):
    Workspace(tmp_path, IDENTITY)
    with pytest.raises(QuantizeError, match="another model, other options or another calibration; remove it"):
        Workspace(tmp_path, {**IDENTITY, "options": {"bits": 3}})


def test_windows_of_different_lengths(tmp_path):
    given = [{"x": np.zeros((1, 4), np.float32)}, {"x": np.zeros((1, 5), np.float32)}]
    with pytest.raises(QuantizeError, match=r"'x' has the shape \[1, 5\] in a window of the calibration, but \[1, 4\] in the first"):
        Workspace(tmp_path, IDENTITY).save_activations("activations-0", given, 2)
