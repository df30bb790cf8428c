"""HLQ in NumPy: the packed layouts, tables and products as the descriptions of the hlq ops define them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    lane: str
    rows: int
    bits: int
    group_size: int
    params: str = "hlq"
    param_type: str = "f16"
    zero_point: int = 0

    @property
    def scales_per_group(self):
        return self.bits if self.params == "hlq" else 1

    @property
    def zeros_per_group(self):
        return self.bits + 1 if self.params == "compact" else self.params != "symmetric"

    @property
    def zero_dtype(self):
        return np.uint8 if self.params == "compact" else self.dtype

    @property
    def group_param_bytes(self):
        sizes = (np.dtype(self.dtype).itemsize, np.dtype(self.zero_dtype).itemsize)
        return self.rows * (self.scales_per_group * sizes[0] + self.zeros_per_group * sizes[1])

    @property
    def step_columns(self):
        return 32 if self.lane == "dword" else 8

    @property
    def unit_columns(self):
        return max(self.group_size, self.step_columns)

    @property
    def dtype(self):
        return np.float16 if self.param_type == "f16" else np.float32

    def __str__(self):
        zero_point = f", zero_point = {self.zero_point}" if self.zero_point else ""
        return (
            f"#hlq.layout<lane = {self.lane}, rows = {self.rows}, bits = {self.bits}, group_size = {self.group_size}, "
            f"params = {self.params}, param_type = {self.param_type}{zero_point}>"
        )


@dataclass
class Matrix:
    """`bits_of` [bits, N, K] of 0 and 1, K a multiple of the group; scales [N, G, S]; zeros [N, G, Z] or None: with compact parameters ratios of
    the planes, and the code of a weight without bits."""

    layout: Layout
    bits_of: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray

    @staticmethod
    def random(layout, n, k, rng):
        groups = -(-k // layout.group_size)
        if layout.unit_columns > layout.group_size:
            groups += groups % 2
        bits_of = rng.integers(0, 2, (layout.bits, n, groups * layout.group_size), dtype=np.uint8)
        scales = (rng.standard_normal((n, groups, layout.scales_per_group)) * 0.1 + 0.05).astype(layout.dtype)
        if layout.params == "compact":
            # Every sum up to 255, that of the first group, whose zero is the least and then the greatest one.
            cuts = np.sort(rng.integers(0, 256, (n, groups, layout.bits + 1)), axis=2)
            cuts[:, 0, -1], cuts[0, 0, 0], cuts[-1, 0] = 255, 0, 255
            zeros = np.roll(np.diff(cuts, axis=2, prepend=0), -1, axis=2).astype(np.uint8)
        else:
            zeros = rng.standard_normal((n, groups, 1)).astype(layout.dtype) if layout.zeros_per_group else None
        return Matrix(layout, bits_of, scales, zeros)

    @property
    def groups(self):
        return self.scales.shape[1]

    def plane_scales(self):
        """[N, G, bits] in float64."""
        if self.layout.params == "hlq":
            return self.scales.astype(np.float64)
        if self.layout.params == "compact":
            return self.scales.astype(np.float64) * self.zeros[:, :, :-1]
        return self.scales.astype(np.float64) * 2.0 ** np.arange(self.layout.bits)

    def plane_zeros(self):
        """[N, G] in float64."""
        if self.layout.params == "compact":
            return self.scales[:, :, 0].astype(np.float64) * (self.zeros[:, :, -1].astype(np.float64) - 128)
        if self.zeros is not None:
            return self.zeros[:, :, 0].astype(np.float64)
        return self.scales[:, :, 0].astype(np.float64) * -self.layout.zero_point

    def dequantize(self):
        g = self.layout.group_size
        scales = np.repeat(self.plane_scales(), g, axis=1)
        return np.repeat(self.plane_zeros(), g, axis=1) + np.einsum("nkj,jnk->nk", scales, self.bits_of)

    def pack(self):
        """[NB, bytes of a row block] of u8."""
        layout, rows = self.layout, self.layout.rows
        n = self.bits_of.shape[1]
        blocks = []
        for first in range(0, n, rows):
            count = min(rows, n - first)
            parts = []
            for unit in range(self.groups * layout.group_size // layout.unit_columns):
                for plane in range(layout.bits):
                    for step in range(layout.unit_columns // layout.step_columns):
                        column = unit * layout.unit_columns + step * layout.step_columns
                        bits = np.zeros((rows, layout.step_columns), np.uint8)
                        bits[:count] = self.bits_of[plane, first : first + count, column : column + layout.step_columns]
                        if layout.lane == "byte":
                            parts.append(np.packbits(bits, axis=1, bitorder="little"))
                            continue
                        weights = np.array([1, 2, 4, 8], np.uint8)
                        nibbles = bits.reshape(rows, 2, 4, 4) @ weights
                        parts.append((nibbles[:, 0] | nibbles[:, 1] << 4).astype(np.uint8))
                per_unit = layout.unit_columns // layout.group_size
                for group in range(unit * per_unit, (unit + 1) * per_unit):
                    columns = [self.scales[:, group, j] for j in range(layout.scales_per_group)]
                    columns += [self.zeros[:, group, j] for j in range(layout.zeros_per_group)]
                    for column in columns:
                        padded = np.zeros(rows, column.dtype)
                        padded[:count] = column[first : first + count]
                        parts.append(padded.view(np.uint8))
            block = np.concatenate([part.reshape(-1) for part in parts])
            blocks.append(np.pad(block, (0, -len(block) % 64)))
        return np.stack(blocks)


def table_sums(tables, matrix, lane, table_group):
    """`acc` [M, N, bits, U] of the op description, by exact integers. `tables` [MB, C, m_tile, 64 or 128] of u8."""
    m_blocks, chunks, m_tile, _ = tables.shape
    values = tables.astype(np.int64) - 128 if lane == "byte" else tables.view(np.int8).astype(np.int64)
    if values.shape[3] == 128:
        values = 256 * values[..., :64] + values[..., 64:]
    values = values.transpose(0, 2, 1, 3).reshape(m_blocks * m_tile, chunks * 4, 16)
    bits, n, k = matrix.bits_of.shape
    nibbles = matrix.bits_of.reshape(bits, n, k // 4, 4) @ np.array([1, 2, 4, 8], np.uint8)
    found = values[:, np.arange(k // 4), nibbles]
    return found.reshape(-1, bits, n, k // table_group, table_group // 4).sum(-1).transpose(0, 2, 1, 3)


def product(tables, scales, sums, matrix, table_group):
    """The result of hlq.lut_matmul [M, N] in float64 and the sum of the magnitudes of its terms."""
    layout = matrix.layout
    acc = table_sums(tables, matrix, layout.lane, table_group).astype(np.float64)
    m = acc.shape[0]
    scales = scales.transpose(0, 2, 1).reshape(m, -1).astype(np.float64)
    sums = sums.transpose(0, 2, 1).reshape(m, matrix.groups, -1).astype(np.float64).sum(-1)
    partial = acc * scales[:, None, None, :]
    partial = partial.reshape(*partial.shape[:3], matrix.groups, -1).sum(-1)
    plane_scales = matrix.plane_scales()
    terms = np.einsum("mnjg,ngj->mngj", partial, plane_scales)
    centred = np.einsum("mg,ng->mng", sums, matrix.plane_zeros() + plane_scales.sum(-1) / 2)
    return terms.sum((2, 3)) + centred.sum(2), np.abs(terms).sum((2, 3)) + np.abs(centred).sum(2)


def build_tables(x, m_tile, table_group, columns, lane, table_bits):
    """hlq.build_lut: tables u8 [MB, C, m_tile, 8 * table_bits], scales and sums f32 [MB, U, m_tile]. Sums in float64 order."""
    m, k = x.shape
    blocks = -(-m // m_tile)
    padded = np.zeros((blocks * m_tile, columns), np.float32)
    padded[:m, :k] = x
    quads = padded.reshape(blocks * m_tile, -1, 4)
    signs = ((np.arange(16)[:, None] >> np.arange(4)) & 1).astype(np.float32) - np.float32(0.5)
    t = quads[..., 0:1] * signs[:, 0]
    for q in range(1, 4):
        t = t + quads[..., q : q + 1] * signs[:, q]
    groups = columns // table_group
    greatest = np.abs(t).reshape(blocks * m_tile, groups, -1).max(-1)
    scales = (greatest / np.float32(127 if table_bits == 8 else 127 * 256)).astype(np.float32)
    scales[scales < np.float32(2.0**-126)] = 0
    with np.errstate(divide="ignore"):
        inverse = np.where(scales > 0, np.float32(1) / scales, np.float32(0)).astype(np.float32)
    entries = np.rint(t.reshape(blocks * m_tile, groups, -1) * inverse[..., None]).astype(np.int64)
    entries = entries.reshape(blocks, m_tile, columns // 16, 64)
    if table_bits == 16:
        high = (entries + 128) // 256
        entries = np.concatenate([high, entries - 256 * high], axis=-1)
    if lane == "byte":
        entries += 128
    tables = entries.astype(np.uint8).transpose(0, 2, 1, 3)
    sums = padded.astype(np.float64).reshape(blocks, m_tile, groups, table_group).sum(-1).transpose(0, 2, 1)
    return tables, scales.reshape(blocks, m_tile, groups).transpose(0, 2, 1), sums
