"""The solver against NumPy in double precision: elutq.solver."""

import ml_dtypes
import numpy as np
import pytest

from elutq.errors import SolverError
from elutq.solver import Hessian, SolveOptions, dequantize, find_library, solve

UNREFINED = SolveOptions(rounds=0)


@pytest.fixture(scope="module", autouse=True)
def library():
    try:
        return find_library()
    except SolverError as error:
        pytest.skip(str(error))


def problem(rows, columns, seed):
    """Weights with outliers, and inputs that are correlated and of very different size."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((rows, columns)) * 0.05 * np.where(rng.random((rows, columns)) < 0.02, 4, 1) + 0.01
    x = rng.standard_normal((4 * columns, columns)) + rng.standard_normal((4 * columns, 1)) * rng.random(columns) + 0.2
    x *= np.exp(rng.standard_normal(columns))
    return w.astype(np.float32), (x.T @ x).astype(np.float32)


def damped(h, share=0.01):
    h = h.astype(np.float64)
    return h + np.eye(len(h)) * share * np.trace(h) / len(h)


def losses(w, v, h):
    e = w.astype(np.float64) - v
    return np.einsum("nk,kl,nl->n", e, h.astype(np.float64), e)


def words(result):
    """f64 [N, K, 2^bits]: what each code of a column stands for."""
    bits = (np.arange(1 << result.bits)[:, None] >> np.arange(result.bits)) & 1
    if result.kind == "compact":
        ratios = result.zeros.astype(np.float64)
        table = result.scales * (np.einsum("ngj,cj->ngc", ratios[:, :, :-1], bits) + ratios[:, :, -1:] - 128)
        return np.repeat(table, result.group, axis=1)[:, : result.columns]
    table = np.einsum("ngj,cj->ngc", result.plane_scales().astype(np.float64), bits) + result.zeros.astype(np.float64)[..., None]
    return np.repeat(table, result.group, axis=1)[:, : result.columns]


def feed_back(w, h, table):
    """GPTQ's column loop with the given words: the codes."""
    u = np.linalg.cholesky(np.linalg.inv(damped(h))).T
    rest, codes = w.astype(np.float64).copy(), np.zeros(w.shape, int)
    for k in range(w.shape[1]):
        codes[:, k] = np.abs(table[:, k] - rest[:, k, None]).argmin(1)
        value = np.take_along_axis(table[:, k], codes[:, k, None], 1)[:, 0]
        rest[:, k + 1 :] -= ((rest[:, k] - value) / u[k, k])[:, None] * u[k, k + 1 :]
    return codes


def design(codes, bits, group):
    """[K, G * (bits + 1)]: the part of each parameter of a row in its weights."""
    groups = -(-len(codes) // group)
    c = np.zeros((len(codes), groups, bits + 1))
    for j in range(bits):
        c[np.arange(len(codes)), np.arange(len(codes)) // group, j] = codes >> j & 1
    c[np.arange(len(codes)), np.arange(len(codes)) // group, bits] = 1
    return c.reshape(len(codes), -1)


def refine(w, h, codes, theta, bits, group):
    """A round of a row, and the end: parameters, codes, parameters, f16, codes."""
    h = damped(h)

    def solve_parameters(theta):
        c = design(codes, bits, group)
        a = c.T @ h @ c
        return theta + np.linalg.solve(a + 1e-5 * np.diag(np.diag(a)), c.T @ h @ (w - c @ theta))

    def choose_codes(theta):
        v = design(codes, bits, group) @ theta
        for k in range(len(w)):
            t = theta.reshape(-1, bits + 1)[k // group]
            table = [t[bits] + sum(t[j] for j in range(bits) if code >> j & 1) for code in range(1 << bits)]
            target = v[k] + h[k] @ (w - v) / h[k, k]
            codes[k] = np.abs(np.array(table) - target).argmin()
            v[k] = table[codes[k]]
        return v

    theta = solve_parameters(theta)
    choose_codes(theta)
    theta = solve_parameters(theta).astype(np.float16).astype(np.float64)
    return choose_codes(theta)


@pytest.mark.parametrize("kind, bits", [("hlq", 1), ("hlq", 2), ("hlq", 3), ("hlq", 4), ("uniform", 3), ("ternary", 2), ("compact", 1),
                                        ("compact", 4)])
def test_codes_follow_from_feedback(kind, bits):
    w, h = problem(20, 100, bits)
    result = solve(w, h, bits=bits, group=32, kind=kind, options=UNREFINED)
    codes, table = feed_back(w, h, words(result)), words(result)
    # Equal words (0 of ternary weights) have two codes, so values are compared; f32 may decide near a midpoint differently.
    values = np.take_along_axis(table, codes[..., None], 2)[..., 0]
    assert (np.abs(values - result.dequantize()).max(1) < 1e-6).mean() >= 0.9


@pytest.mark.parametrize("bits, group", [(2, 32), (3, 64), (4, 104)])
def test_refinement_is_the_formula(bits, group):
    w, h = problem(24, 104, 10 + bits)
    start = solve(w, h, bits=bits, group=group, options=UNREFINED)
    result = solve(w, h, bits=bits, group=group, options=SolveOptions(rounds=1))
    theta = np.concatenate([start.scales, start.zeros[..., None]], 2).astype(np.float64).reshape(len(w), -1)
    expected = np.array([refine(w[n].astype(np.float64), h, start.codes()[n].astype(int), theta[n], bits, group)
                         for n in range(len(w))])
    assert (np.abs(expected - result.dequantize()).max(1) < 1e-4).mean() >= 0.7
    assert result.loss.sum() == pytest.approx(losses(w, expected, h).sum(), rel=0.02)
    assert result.loss.sum() < 0.97 * start.loss.sum()


@pytest.mark.parametrize("order", ["natural", "groups", "columns"])
def test_loss_is_that_of_the_result(order):
    w, h = problem(70, 90, 3)
    with Hessian(h, group=16, order=order) as hessian:
        result = solve(w, hessian, bits=3, group=16, threads=2)
        np.testing.assert_allclose(result.loss, losses(w, result.dequantize(), h), rtol=1e-4)
        np.testing.assert_allclose(hessian.loss(w, result.dequantize()), result.loss, rtol=1e-4)
        assert result.squared_error == pytest.approx(np.square(w - result.dequantize()).sum(), rel=1e-4)
    with pytest.raises(SolverError, match="closed"):
        solve(w, hessian, bits=3, group=16)


def test_each_step_lowers_the_loss():
    w, h = problem(128, 256, 4)
    steps = [SolveOptions(starts=1, weighted=False, frozen_codes=True, rounds=0), SolveOptions(starts=1, weighted=False, rounds=0),
             SolveOptions(starts=1, rounds=0), UNREFINED, SolveOptions()]
    loss = [solve(w, h, bits=2, options=options).loss.sum() for options in steps]
    assert loss == sorted(loss, reverse=True)
    assert loss[-1] < 0.6 * loss[0]


def test_planes_are_those_of_the_onnx_operator():
    """Bit t of byte i of plane j is bit j of the code of column 8 i + t; columns behind the last one are 0."""
    w, _ = problem(5, 77, 5)
    result = solve(w, bits=3, group=32)
    assert result.planes.shape == (3, 5, 12) and result.scales.shape == (5, 3, 3) and result.zeros.shape == (5, 3)
    expected = np.zeros((5, 77), np.float32)
    for n in range(5):
        for k in range(96):
            bits = [int(result.planes[j, n, k // 8]) >> k % 8 & 1 for j in range(3)]
            if k >= 77:
                assert bits == [0, 0, 0]
                continue
            expected[n, k] = result.zeros[n, k // 32] + sum(np.float32(s) * b for s, b in zip(result.scales[n, k // 32], bits))
    np.testing.assert_allclose(result.dequantize(), expected, atol=1e-6)
    np.testing.assert_allclose(result.loss, np.square(w - expected).sum(1), rtol=1e-4)


def test_uniform_is_hlq_with_doubled_scales():
    w, h = problem(9, 64, 6)
    result = solve(w, h, bits=4, group=32, kind="uniform")
    assert result.scales.shape == (9, 2, 1) and result.plane_scales().shape == (9, 2, 4)
    as_hlq = dequantize(result.planes, result.plane_scales(), result.zeros, bits=4, columns=64)
    np.testing.assert_allclose(as_hlq, result.dequantize(), atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_compact_parameters_are_whole_numbers_of_a_step(bits):
    w, h = problem(70, 200, 20 + bits)
    for hessian, options in ((None, UNREFINED), (h, UNREFINED), (h, SolveOptions())):
        result, free = (solve(w, hessian, bits=bits, group=64, kind=kind, options=options) for kind in ("compact", "hlq"))
        assert result.scales.shape == (70, 4, 1) and result.zeros.shape == (70, 4, bits + 1) and result.zeros.dtype == np.uint8
        assert result.plane_scales() is result.scales
        assert result.zeros.astype(int).sum(-1).max() <= 255
        values = np.take_along_axis(words(result), result.codes()[..., None].astype(int), 2)[..., 0]
        np.testing.assert_array_equal(result.dequantize(), values)
        np.testing.assert_allclose(result.loss, losses(w, values, np.eye(200) if hessian is None else h), rtol=1e-4)
        # Before refinement codes have their part in the luck of a row.
        assert result.loss.sum() < (1.01 if options.rounds else 1.04) * free.loss.sum()


@pytest.mark.parametrize("levels, bits, kind", [((-1, 0, 1), 2, "hlq"), ((-1, 0, 1), 2, "ternary"), ((-1, 1), 1, "hlq"), ((0, 1), 1, "uniform")])
def test_ternary_and_binary_weights_are_found(levels, bits, kind):
    """Such matrices are special cases of two planes and of one."""
    rng = np.random.default_rng(4)
    scales = rng.uniform(0.01, 0.1, (33, 4, 1)).astype(np.float16).astype(np.float32)
    weights = (rng.choice(levels, (33, 4, 64)) * scales).astype(np.float32).reshape(33, 256)
    np.testing.assert_array_equal(solve(weights, bits=bits, group=64, kind=kind).dequantize(), weights)


def test_eight_bits_are_never_compact():
    w, _ = problem(9, 50, 7)
    result = solve(w, bits=8, group=32, kind="compact")
    assert result.kind == "uniform" and result.zeros.dtype == np.float16


def test_eight_bits():
    w, h = problem(9, 50, 7)
    result = solve(w, h, bits=8, group=32)
    assert result.planes.shape == (1, 9, 64) and result.scales.shape == (9, 2, 1)
    np.testing.assert_allclose(result.dequantize(), w, atol=2e-3)
    np.testing.assert_allclose(result.loss, losses(w, result.dequantize(), h), rtol=1e-3)


def test_column_weights():
    w, _ = problem(9, 64, 8)
    weights = np.where(np.arange(64) % 4 == 0, 100, 0.01).astype(np.float32)
    weighted, plain = solve(w, weights, bits=2, group=64), solve(w, bits=2, group=64)
    np.testing.assert_allclose(weighted.loss, (np.square(w - weighted.dequantize()) * weights).sum(1), rtol=1e-3)
    assert weighted.loss.sum() < 0.7 * (np.square(w - plain.dequantize()) * weights).sum()


def test_types_strides_and_threads_do_not_matter():
    w, h = problem(130, 96, 9)
    w = w.astype(ml_dtypes.bfloat16).astype(np.float32)
    hessian = Hessian(h, group=32)
    expected = solve(w, hessian, bits=2, group=32, threads=1)
    for same in (w.T.copy().T, w.astype(ml_dtypes.bfloat16), np.repeat(w, 2, axis=1)[:, ::2]):
        result = solve(same, hessian, bits=2, group=32, threads=3)
        assert np.array_equal(result.planes, expected.planes) and np.array_equal(result.scales, expected.scales)
        assert np.array_equal(result.loss, expected.loss)


def test_progress_counts_rows_and_may_stop():
    w, h = problem(200, 64, 10)
    seen = []
    solve(w, h, bits=2, group=64, threads=1, progress=lambda done, rows: seen.append((done, rows)))
    assert seen == [(64, 200), (128, 200), (192, 200), (200, 200)]

    def stop(done, rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(w, h, bits=2, group=64, progress=stop)


def test_errors_are_one_line():
    w, h = problem(9, 64, 11)
    with pytest.raises(SolverError, match=r"weights of row 7, columns 32 to 63 hold a value that is not a finite number"):
        solve(np.where(np.arange(9)[:, None] * 64 + np.arange(64) == 7 * 64 + 40, np.nan, w), h, bits=2, group=32)
    with pytest.raises(SolverError, match=r"the Hessian's element \[3, 5\] is not a finite number"):
        Hessian(np.where((np.arange(64)[:, None] == 3) & (np.arange(64) == 5), np.inf, h))
    for arguments, message in [
        ({"bits": 5}, "expected 1 to 4 bits, but got 5"),
        ({"bits": 3, "kind": "ternary"}, "ternary weights have 2 bits, but got 3"),
        ({"bits": 2, "kind": "int"}, "expected the kind to be one of hlq, uniform, ternary, compact, but got 'int'"),
        ({"bits": 2, "group": 12}, "expected the group size to be a positive multiple of 8, but got 12"),
    ]:
        with pytest.raises(SolverError, match=message):
            solve(w, h, **arguments)
    with pytest.raises(SolverError, match="the Hessian was made for groups of 128, not of 32"):
        solve(w, Hessian(h), bits=2, group=32)
    with pytest.raises(SolverError, match="expected weights of 64 columns, as the Hessian has, but got 63"):
        solve(w[:, :63], h, bits=2)
    with pytest.raises(SolverError, match=r"expected a square Hessian or a vector of column weights, but got shape \[64, 63\]"):
        Hessian(h[:, :63])
    with pytest.raises(SolverError, match=r"expected a matrix of weights, but got shape \[0, 64\]"):
        solve(w[:0], h, bits=2)
    with pytest.raises(SolverError, match="expected weights of type float32, float16, bfloat16, but got float64"):
        solve(w.astype(np.float64), h, bits=2)


def test_a_missing_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("ELUTQ_QUANTIZE_LIBRARY", str(tmp_path / "lib.so"))
    with pytest.raises(SolverError, match="which is no file"):
        find_library()
