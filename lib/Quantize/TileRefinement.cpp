//===- TileRefinement.cpp - Lower the loss of 64 rows ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// With v = C t, where C holds the design of the chosen codes and t the parameters of all groups of a row, the best t for fixed codes
// solves C^T H C dt = C^T H e. H C costs K^2 per row and parameter; a batch of rows shares one product with H, whose 64 columns are
// (parameter, row). The zero's column of C is the same for all rows: its product with H is `Hessian::groupSums`.
//
//===----------------------------------------------------------------------===//

#include "TileRefinement.h"
#include "Cholesky.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace elutq::quantize;

/// Pull towards the old parameters, as a share of the diagonal.
static constexpr double kRidge = 1e-5;
/// Systems from this size on are factored by blocks.
static constexpr int64_t kLargeSystem = 96;

TileRefinement::TileRefinement(const TileKernels &kernels, const Hessian &hessian, const ParameterSpace &space, Tile &tile)
    : kernels(kernels), hessian(hessian), space(space), tile(tile), gradient(hessian.size * kTileRows) {
  for (int r = 0; r < kTileRows; ++r)
    active[r] = r < tile.rows ? -1 : 0;
}

/// gradient = H (w - v).
void TileRefinement::computeGradient() {
  std::fill(gradient.begin(), gradient.end(), 0.0f);
  float difference[kMaxDepth * kTileRows];
  for (int64_t k = 0; k < hessian.size; k += kMaxDepth) {
    int64_t depth = std::min<int64_t>(kMaxDepth, hessian.size - k);
    for (int64_t i = 0; i < depth * kTileRows; ++i)
      difference[i] = tile.values[k * kTileRows + i] - tile.weights[k * kTileRows + i];
    kernels.multiply(hessian.damped.data() + k * hessian.size, hessian.size, hessian.size, depth, difference, kTileRows,
                     gradient.data(), kTileRows);
  }
}

void TileRefinement::computeDampedLoss(Losses &out) {
  std::fill(out, out + kTileRows, 0.0);
  for (int64_t k = 0; k < hessian.size; ++k)
    for (int r = 0; r < kTileRows; ++r) {
      int64_t at = k * kTileRows + r;
      out[r] += static_cast<double>(tile.weights[at] - tile.values[at]) * static_cast<double>(gradient[at]);
    }
}

void TileRefinement::computeLosses() {
  Losses squares = {};
  if (hessian.isDiagonal) {
    std::fill(dampedLoss, dampedLoss + kTileRows, 0.0);
  } else {
    computeGradient();
    computeDampedLoss(dampedLoss);
  }
  for (int64_t k = 0; k < hessian.size; ++k)
    for (int r = 0; r < kTileRows; ++r) {
      double e = static_cast<double>(tile.weights[k * kTileRows + r]) - static_cast<double>(tile.values[k * kTileRows + r]);
      squares[r] += e * e;
      if (hessian.isDiagonal)
        dampedLoss[r] += e * e * static_cast<double>(hessian.costs[k]);
    }
  for (int r = 0; r < kTileRows; ++r) {
    loss[r] = std::max(dampedLoss[r] - hessian.addedDiagonal * squares[r], 0.0) / hessian.scale;
    dampedLoss[r] /= hessian.scale;
  }
}

/// The values of a group's codes under its parameters.
void TileRefinement::makeValues(int64_t group) {
  TileWords words;
  space.makeWords(kernels, tile.groupParameters(group), words);
  float byCode[kMaxWords][kTileRows];
  for (int rank = 0; rank < 1 << space.bits; ++rank)
    for (int r = 0; r < kTileRows; ++r)
      byCode[words.code[rank][r]][r] = words.word[rank][r];
  for (int64_t k = hessian.groupOffsets[group]; k < hessian.groupOffsets[group + 1]; ++k)
    for (int r = 0; r < kTileRows; ++r)
      tile.values[k * kTileRows + r] = byCode[tile.codes[k * kTileRows + r]][r];
}

/// Solves for the parameters of `batchRows` rows from `firstRow` on.
void TileRefinement::solveBatch(int64_t firstRow, int64_t batchRows) {
  int64_t size = hessian.size, groups = static_cast<int64_t>(hessian.groups.size());
  int varying = space.numVarying(), perGroup = space.size;
  int64_t unknowns = groups * perGroup;
  const std::vector<int64_t> &offsets = hessian.groupOffsets;

  // Lane j * batchRows + r holds parameter j's part in the weight of row r. `design` repeats parameter i's in all j.
  product.resize(size * kTileRows);
  design.resize((varying + 1) * size * kTileRows);
  for (int64_t k = 0; k < size; ++k)
    for (int i = 0; i < varying; ++i) {
      float *lanes = design.data() + (i * size + k) * kTileRows;
      std::fill(lanes, lanes + kTileRows, 0.0f);
      for (int64_t r = 0; r < batchRows; ++r) {
        float x = space.design[tile.codes[k * kTileRows + firstRow + r]][i];
        for (int j = 0; j < varying; ++j)
          lanes[j * batchRows + r] = x;
      }
    }
  float *ones = design.data() + varying * size * kTileRows;
  std::fill(ones, ones + size * kTileRows, 1.0f);

  std::vector<float> systems(batchRows * unknowns * unknowns);
  auto element = [&](int64_t r, int64_t row, int64_t column) -> float & {
    return systems[(r * unknowns + row) * unknowns + column];
  };
  std::vector<float> codes;
  float lanes[kTileRows];
  for (int64_t q = 0; q < groups; ++q) {
    int64_t begin = offsets[q], end = offsets[q + 1];
    codes.assign((end - begin) * kTileRows, 0.0f);
    for (int64_t k = begin; k < end; ++k)
      for (int j = 0; j < varying; ++j) {
        const float *from = design.data() + (j * size + k) * kTileRows + j * batchRows;
        std::copy(from, from + batchRows, codes.data() + (k - begin) * kTileRows + j * batchRows);
      }
    // By symmetry, only the columns of groups up to this one.
    std::fill(product.begin(), product.begin() + end * kTileRows, 0.0f);
    for (int64_t k = begin; k < end; k += kMaxDepth)
      kernels.multiply(hessian.damped.data() + k * size, size, end, std::min<int64_t>(kMaxDepth, end - k),
                       codes.data() + (k - begin) * kTileRows, kTileRows, product.data(), kTileRows);
    for (int64_t p = 0; p <= q; ++p) {
      int64_t first = offsets[p], count = offsets[p + 1] - first;
      for (int i = 0; i < perGroup; ++i) {
        const float *left = design.data() + (i * size + first) * kTileRows;
        kernels.dotLanes(left, product.data() + first * kTileRows, count, lanes);
        for (int j = p == q ? i : 0; j < varying; ++j)
          for (int64_t r = 0; r < batchRows; ++r)
            element(r, p * perGroup + i, q * perGroup + j) = -lanes[j * batchRows + r];
        if (!space.hasZero)
          continue;
        std::fill(lanes, lanes + kTileRows, 0.0f);
        for (int64_t k = 0; k < count; ++k)
          for (int r = 0; r < kTileRows; ++r)
            lanes[r] += left[k * kTileRows + r] * hessian.groupSums[(first + k) * groups + q];
        for (int64_t r = 0; r < batchRows; ++r)
          element(r, p * perGroup + i, q * perGroup + varying) = lanes[r];
      }
    }
  }

  bool isLarge = unknowns >= kLargeSystem;
  int64_t stride = isLarge ? padToTiles(unknowns) : unknowns;
  std::vector<double> matrix(stride * stride), right(unknowns);
  for (int64_t r = 0; r < batchRows; ++r) {
    int64_t row = firstRow + r;
    if (!active[row])
      continue;
    std::fill(matrix.begin(), matrix.end(), 0.0);
    for (int64_t i = 0; i < stride; ++i) {
      if (i >= unknowns) {
        matrix[i * stride + i] = 1;
        continue;
      }
      for (int64_t j = i; j < unknowns; ++j)
        matrix[i * stride + j] = static_cast<double>(element(r, i, j));
      // A parameter without a part in any weight stays where it is.
      double diagonal = matrix[i * stride + i];
      matrix[i * stride + i] = diagonal > 0 ? diagonal * (1 + kRidge) : 1;
    }
    for (int64_t p = 0; p < groups; ++p)
      for (int i = 0; i < perGroup; ++i) {
        double sum = 0;
        for (int64_t k = offsets[p]; k < offsets[p + 1]; ++k)
          sum += static_cast<double>(space.design[tile.codes[k * kTileRows + row]][i]) *
                 static_cast<double>(gradient[k * kTileRows + row]);
        right[p * perGroup + i] = sum;
      }
    if (!(isLarge ? factorUpper(kernels, matrix.data(), stride, 1) : factorSmall(matrix.data(), stride, unknowns)))
      continue;
    solveFactored(matrix.data(), stride, unknowns, right.data());
    for (int64_t p = 0; p < groups; ++p)
      for (int i = 0; i < perGroup; ++i)
        tile.groupParameters(p)[i][row] += static_cast<float>(right[p * perGroup + i]);
  }
}

/// With the codes as they are, the parameters of all groups; a row whose loss would not fall stays as it is.
void TileRefinement::solveParameters() {
  Losses before, after;
  computeDampedLoss(before);
  std::vector<float> oldParameters = tile.parameters, oldValues = tile.values, oldGradient = gradient;
  int64_t fit = kTileRows / space.numVarying(), batch = kTileRows;
  while (batch > fit)
    batch /= 2;
  // Bounded memory where rows have many groups.
  int64_t unknowns = static_cast<int64_t>(hessian.groups.size()) * space.size;
  while (batch > 1 && batch * unknowns * unknowns > (int64_t(1) << 24))
    batch /= 2;
  for (int64_t row = 0; row < tile.rows; row += batch)
    if (std::any_of(active + row, active + row + batch, [](int32_t x) { return x != 0; }))
      solveBatch(row, batch);
  for (int64_t group = 0; group < static_cast<int64_t>(hessian.groups.size()); ++group)
    makeValues(group);
  computeGradient();
  computeDampedLoss(after);
  for (int r = 0; r < kTileRows; ++r) {
    if (after[r] <= before[r])
      continue;
    auto restore = [&](std::vector<float> &to, const std::vector<float> &from) {
      for (size_t i = r; i < to.size(); i += kTileRows)
        to[i] = from[i];
    };
    restore(tile.parameters, oldParameters);
    restore(tile.values, oldValues);
    restore(gradient, oldGradient);
  }
}

/// With the parameters as they are, the best code for each column, given all others.
void TileRefinement::chooseCodes() {
  TileWords words;
  float changes[kBlockColumns * kTileRows];
  for (int64_t group = 0; group < static_cast<int64_t>(hessian.groups.size()); ++group) {
    space.makeWords(kernels, tile.groupParameters(group), words);
    int64_t end = hessian.groupOffsets[group + 1];
    for (int64_t k = hessian.groupOffsets[group]; k < end; k += kBlockColumns) {
      int64_t columns = std::min<int64_t>(kBlockColumns, end - k);
      const float *h = hessian.damped.data() + k * hessian.size;
      kernels.descend(words, space.bits,
                      {columns, gradient.data() + k * kTileRows, h + k, hessian.size, hessian.inverseDiagonal.data() + k, active,
                       tile.values.data() + k * kTileRows, tile.codes.data() + k * kTileRows, changes});
      if (std::any_of(changes, changes + columns * kTileRows, [](float x) { return x != 0; }))
        kernels.multiply(h, hessian.size, hessian.size, columns, changes, kTileRows, gradient.data(), kTileRows);
    }
  }
}

void TileRefinement::roundParameters() {
  for (int64_t group = 0; group < static_cast<int64_t>(hessian.groups.size()); ++group) {
    TileParameters &parameters = tile.groupParameters(group);
    for (int r = 0; r < tile.rows; ++r)
      clampedGroups += space.round(parameters, r);
    makeValues(group);
  }
}

void TileRefinement::run(int64_t maxRounds, double tolerance, std::vector<double> &trace) {
  Losses current, before, first;
  auto record = [&](Losses &out) {
    computeDampedLoss(out);
    double sum = 0;
    for (int64_t r = 0; r < tile.rows; ++r)
      sum += out[r];
    trace.push_back(sum / hessian.scale);
  };
  computeGradient();
  record(current);
  std::copy(current, current + kTileRows, first);
  Tile start = tile;
  for (int64_t round = 0; round < maxRounds; ++round) {
    if (std::none_of(active, active + kTileRows, [](int32_t x) { return x != 0; }))
      break;
    std::copy(current, current + kTileRows, before);
    solveParameters();
    record(current);
    chooseCodes();
    record(current);
    for (int r = 0; r < kTileRows; ++r) {
      rounds[r] += active[r] != 0;
      if (!(before[r] - current[r] > tolerance * before[r]))
        active[r] = 0;
    }
  }
  for (int r = 0; r < kTileRows; ++r)
    active[r] = r < tile.rows ? -1 : 0;
  solveParameters();
  record(current);
  roundParameters();
  computeGradient();
  chooseCodes();
  computeGradient();
  computeDampedLoss(current);
  // Rounding may have cost a row more than it gained.
  for (int r = 0; r < kTileRows; ++r) {
    if (current[r] <= first[r])
      continue;
    auto restore = [&](auto &to, const auto &from) {
      for (size_t i = r; i < to.size(); i += kTileRows)
        to[i] = from[i];
    };
    restore(tile.parameters, start.parameters);
    restore(tile.values, start.values);
    restore(tile.codes, start.codes);
  }
  computeLosses();
  double sum = 0;
  for (int64_t r = 0; r < tile.rows; ++r)
    sum += dampedLoss[r];
  trace.push_back(sum);
}
