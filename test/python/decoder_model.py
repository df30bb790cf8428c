"""A miniature decoder in the form that the normalize stage leaves, as MLIR and in NumPy."""

import numpy as np

HIDDEN, HEADS, KV_HEADS, HEAD, FFN, VOCAB, WINDOW, SOFTCAP = 48, 4, 2, 32, 80, 112, 20, 30.0


def make_weights(layers, seed=0):
    """Float weights by name; `head` and `embedding` are one table."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    weights = {"embedding": normal(VOCAB, HIDDEN) * 10}
    for i in range(layers):
        weights |= {
            f"norm_a{i}": 1 + normal(HIDDEN) / 4,
            f"norm_f{i}": 1 + normal(HIDDEN) / 4,
            f"q{i}": normal(HIDDEN, HEADS * HEAD),
            f"k{i}": normal(HIDDEN, KV_HEADS * HEAD),
            f"v{i}": normal(HIDDEN, KV_HEADS * HEAD),
            f"o{i}": normal(HEADS * HEAD, HIDDEN),
            f"gate{i}": normal(HIDDEN, FFN),
            f"up{i}": normal(HIDDEN, FFN),
            f"down{i}": normal(FFN, HIDDEN),
        }
    return weights


def window_of(layer):
    return WINDOW if layer % 2 == 0 else 0


def capacity_of(layer, context, chunk):
    def up(n):
        return (n + 63) // 64 * 64

    return min(up(context), up(WINDOW + chunk)) if window_of(layer) else up(context)


class Writer:
    """Collects the ops of one entry."""

    def __init__(self, rows):
        self.m, self.lines, self.count = rows, [], 0

    def op(self, text):
        self.count += 1
        name = f"%r{self.count}"
        self.lines.append(f"{name} = {text}")
        return name

    def generic(self, inputs, maps, iterators, out, body, init=None):
        """A linalg.generic; `inputs` are (value, type) pairs, the last map is that of the result."""
        if init is None:
            init = self.op(f"tensor.empty() : {out}")
        values = ", ".join(v for v, _ in inputs)
        types = ", ".join(t for _, t in inputs)
        names = ", ".join(f"%x{i}: f32" for i in range(len(inputs)))
        return self.op(
            f"linalg.generic {{indexing_maps = [{', '.join(f'affine_map<{m}>' for m in maps)}], "
            f"iterator_types = [{', '.join(chr(34) + i + chr(34) for i in iterators)}]}} "
            f"ins({values} : {types}) outs({init} : {out}) {{\n^bb0({names}, %acc: f32):\n{body}\n}} -> {out}"
        )

    def constant(self, name, shape):
        t = f"tensor<{'x'.join(map(str, shape))}xf32>"
        return self.op(f"arith.constant dense_resource<{name}> : {t}"), t

    def zeros(self, t):
        empty = self.op(f"tensor.empty() : {t}")
        return self.op(f"linalg.fill ins(%zero : f32) outs({empty} : {t}) -> {t}")

    def matmul(self, x, k, name, n):
        w, wt = self.constant(name, (k, n))
        out = f"tensor<{self.m}x{n}xf32>"
        zero = self.zeros(out)
        return self.op(f"linalg.matmul ins({x}, {w} : tensor<{self.m}x{k}xf32>, {wt}) outs({zero} : {out}) -> {out}")

    def norm(self, x, name):
        t, s = f"tensor<{self.m}x{HIDDEN}xf32>", f"tensor<{self.m}xf32>"
        w, wt = self.constant(name, (HIDDEN,))
        rows, whole = "(i, j) -> (i)", "(i, j) -> (i, j)"
        total = self.generic([(x, t)], [whole, rows], ["parallel", "reduction"], s,
                             "%p = arith.mulf %x0, %x0 : f32\n%q = arith.addf %p, %acc : f32\nlinalg.yield %q : f32",
                             self.zeros(s))
        body = ("%a = arith.divf %x1, %width : f32\n%b = arith.addf %a, %eps : f32\n%c = math.rsqrt %b : f32\n"
                "%d = arith.mulf %x0, %c : f32\n%e = arith.mulf %d, %x2 : f32\nlinalg.yield %e : f32")
        return self.generic([(x, t), (total, s), (w, wt)], [whole, rows, "(i, j) -> (j)", whole], ["parallel"] * 2, t, body)

    def elementwise(self, op, x, y, width):
        t, whole = f"tensor<{self.m}x{width}xf32>", "(i, j) -> (i, j)"
        return self.generic([(x, t), (y, t)], [whole] * 3, ["parallel"] * 2, t,
                            f"%a = arith.{op} %x0, %x1 : f32\nlinalg.yield %a : f32")

    def heads(self, x, heads):
        t = f"tensor<{self.m}x{heads}x{HEAD}xf32>"
        shape = f"[{self.m}, {heads}, {HEAD}]"
        return self.op(f"tensor.expand_shape {x} [[0], [1, 2]] output_shape {shape} : "
                       f"tensor<{self.m}x{heads * HEAD}xf32> into {t}")

    def rotary(self, x, heads, position):
        """Rotates halves of each head by the angle of the row's position."""
        full, half = f"tensor<{self.m}x{heads}x{HEAD}xf32>", f"tensor<{self.m}x{heads}x{HEAD // 2}xf32>"
        halves = []
        for offset in (0, HEAD // 2):
            halves.append((self.op(f"tensor.extract_slice {x}[0, 0, {offset}] [{self.m}, {heads}, {HEAD // 2}] [1, 1, 1] : "
                                   f"{full} to {half}"), half))
        out = self.op(f"tensor.empty() : {full}")
        for offset, (op, sign) in ((0, ("subf", 0)), (HEAD // 2, ("addf", 1))):
            body = ("%i = linalg.index 0 : index\n%j = linalg.index 2 : index\n%p = arith.addi %i, %position : index\n"
                    "%pi = arith.index_cast %p : index to i64\n%pf = arith.sitofp %pi : i64 to f32\n"
                    "%ji = arith.index_cast %j : index to i64\n%jf = arith.sitofp %ji : i64 to f32\n"
                    "%f = arith.mulf %jf, %rope : f32\n%g = math.exp %f : f32\n%angle = arith.mulf %pf, %g : f32\n"
                    "%c = math.cos %angle : f32\n%s = math.sin %angle : f32\n"
                    + ("%u = arith.mulf %x0, %c : f32\n%v = arith.mulf %x1, %s : f32\n" if not sign else
                       "%u = arith.mulf %x1, %c : f32\n%v = arith.mulf %x0, %s : f32\n")
                    + f"%w = arith.{op} %u, %v : f32\nlinalg.yield %w : f32")
            whole = "(i, h, j) -> (i, h, j)"
            part = self.generic(halves, [whole] * 3, ["parallel"] * 3, half, body)
            out = self.op(f"tensor.insert_slice {part} into {out}[0, 0, {offset}] [{self.m}, {heads}, {HEAD // 2}] [1, 1, 1] : "
                          f"{half} into {full}")
        return out


def entry_text(name, rows, layers, context, chunk):
    w = Writer(rows)
    m = rows
    hidden = f"tensor<{m}x{HIDDEN}xf32>"
    table, table_type = w.constant("embedding", (VOCAB, HIDDEN))
    x = w.op(f"tensor.empty() : {hidden}")
    x = w.op(f"lm.gather ins(%tokens, {table} : tensor<{m}xi64>, {table_type}) outs({x} : {hidden}) -> {hidden}")
    caches = []
    for i in range(layers):
        cap = capacity_of(i, context, chunk)
        kt, vt = f"tensor<{KV_HEADS}x{cap // 64}x{HEAD}x64xf16>", f"tensor<{KV_HEADS}x{cap}x{HEAD}xf16>"
        h = w.norm(x, f"norm_a{i}")
        q = w.rotary(w.heads(w.matmul(h, HIDDEN, f"q{i}", HEADS * HEAD), HEADS), HEADS, None)
        k = w.rotary(w.heads(w.matmul(h, HIDDEN, f"k{i}", KV_HEADS * HEAD), KV_HEADS), KV_HEADS, None)
        v = w.heads(w.matmul(h, HIDDEN, f"v{i}", KV_HEADS * HEAD), KV_HEADS)
        kvt, qt = f"tensor<{m}x{KV_HEADS}x{HEAD}xf32>", f"tensor<{m}x{HEADS}x{HEAD}xf32>"
        new = [w.op(f"lm.cache_append ins({u}, %position, %count : {kvt}) outs(%{c}{i} : {t}) -> {t}")
               for u, c, t in ((k, "k", kt), (v, "v", vt))]
        caches += [(f"%k{i}", kt, new[0]), (f"%v{i}", vt, new[1])]
        init = w.op(f"tensor.empty() : {qt}")
        a = w.op(f"lm.attention ins({q}, {new[0]}, {new[1]}, %position : {qt}, {kt}, {vt}) outs({init} : {qt}) "
                 f"{{scale = 0.25 : f32, window = {window_of(i)} : i64, softcap = {SOFTCAP} : f32, part = 64 : i64}} -> {qt}")
        a = w.op(f"tensor.collapse_shape {a} [[0], [1, 2]] : {qt} into tensor<{m}x{HEADS * HEAD}xf32>")
        x = w.elementwise("addf", x, w.matmul(a, HEADS * HEAD, f"o{i}", HIDDEN), HIDDEN)
        h = w.norm(x, f"norm_f{i}")
        ft, whole = f"tensor<{m}x{FFN}xf32>", "(i, j) -> (i, j)"
        g = w.generic([(w.matmul(h, HIDDEN, f"gate{i}", FFN), ft)], [whole] * 2, ["parallel"] * 2, ft,
                      "%a = math.tanh %x0 : f32\nlinalg.yield %a : f32")
        f = w.elementwise("mulf", g, w.matmul(h, HIDDEN, f"up{i}", FFN), FFN)
        x = w.elementwise("addf", x, w.matmul(f, FFN, f"down{i}", HIDDEN), HIDDEN)
    last = w.op("arith.subi %count, %one : index")
    x = w.op(f"tensor.extract_slice {x}[{last}, 0] [1, {HIDDEN}] [1, 1] : {hidden} to tensor<1x{HIDDEN}xf32>")
    zero = w.zeros(f"tensor<1x{VOCAB}xf32>")
    logits = w.op(
        "linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, "
        f"affine_map<(m, n, k) -> (m, n)>] ins({x}, {table} : tensor<1x{HIDDEN}xf32>, {table_type}) "
        f"outs({zero} : tensor<1x{VOCAB}xf32>) -> tensor<1x{VOCAB}xf32>")
    constants = [("zero", "0.0 : f32"), ("eps", "1.0e-6 : f32"), ("width", f"{float(HIDDEN)} : f32"),
                 ("rope", "-0.5 : f32"), ("one", "1 : index")]
    head = "\n".join(f"%{n} = arith.constant {v}" for n, v in constants)
    arguments = ", ".join(f"{n}: {t}" for n, t, _ in caches)
    types = ", ".join([f"tensor<1x{VOCAB}xf32>"] + [t for _, t, _ in caches])
    values = ", ".join([logits] + [v for _, _, v in caches])
    body = "\n".join(w.lines)
    return (f"func.func @{name}(%tokens: tensor<{m}xi64>, %count: index, %position: index, {arguments}) -> ({types}) {{\n"
            f"{head}\n{body}\nreturn {values} : {types}\n}}\n")


def module_text(weights, layers, context, chunk):
    blobs = ",\n".join(f'{n}: "0x04000000{np.ascontiguousarray(v).tobytes().hex()}"' for n, v in weights.items())
    return (entry_text("decode", 1, layers, context, chunk) + entry_text("prefill", chunk, layers, context, chunk)
            + "{-# dialect_resources: { builtin: {\n" + blobs + "\n} } #-}\n")


def reference(weights, layers, tokens):
    """Logits after every token, in float64; keys and values are rounded to f16 as in the cache."""
    w = {n: v.astype(np.float64) for n, v in weights.items()}
    x = w["embedding"][tokens]
    rows = np.arange(len(tokens))

    def norm(x, g):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * g

    def rotary(x):
        angle = rows[:, None, None] * np.exp(-0.5 * np.arange(HEAD // 2))
        a, b = x[..., : HEAD // 2], x[..., HEAD // 2 :]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)

    for i in range(layers):
        h = norm(x, w[f"norm_a{i}"])
        q = rotary((h @ w[f"q{i}"]).reshape(-1, HEADS, HEAD))
        k = rotary((h @ w[f"k{i}"]).reshape(-1, KV_HEADS, HEAD)).astype(np.float16).astype(np.float64)
        v = (h @ w[f"v{i}"]).reshape(-1, KV_HEADS, HEAD).astype(np.float16).astype(np.float64)
        k, v = (np.repeat(t, HEADS // KV_HEADS, 1) for t in (k, v))
        s = SOFTCAP * np.tanh(np.einsum("mhd,phd->hmp", q, k) * 0.25 / SOFTCAP)
        seen = rows[None, :] <= rows[:, None]
        if window_of(i):
            seen &= rows[None, :] > rows[:, None] - window_of(i)
        s = np.where(seen, s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + np.einsum("hmp,phd->mhd", p, v).reshape(len(tokens), -1) @ w[f"o{i}"]
        h = norm(x, w[f"norm_f{i}"])
        x = x + (np.tanh(h @ w[f"gate{i}"]) * (h @ w[f"up{i}"])) @ w[f"down{i}"]
    return x @ w["embedding"].T
