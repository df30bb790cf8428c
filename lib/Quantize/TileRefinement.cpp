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
#include "CompactGrid.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace elutq::quantize;

/// Pull towards the old parameters, as a share of the diagonal.
static constexpr double kRidge = 1e-5;
/// Systems from this size on are factored by blocks.
static constexpr int64_t kLargeSystem = 96;
/// How often compact parameters are rounded and codes chosen for them, after which the best is taken: the next solve knows the new codes.
static constexpr int kCompactRoundings = 3;

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

/// Adds `change` to the parameters of a row and rounds them to compact ones, one after the other from the last to the first, each where the
/// loss is least with those before it as they were rounded: with V^T V the matrix of the solve, the loss grows by the sum of
/// (V[i, i] (t_i - best of t_i))^2 (Babai's nearest plane). Of several steps for a group the one with the least growth is taken.
void TileRefinement::roundRow(int64_t row, const double *factor, int64_t stride, const double *change) {
  int size = space.size, bits = space.bits;
  int64_t groups = static_cast<int64_t>(hessian.groups.size()), unknowns = groups * size;
  // What rounding has added to the solution.
  std::vector<double> errors(unknowns, 0.0);
  for (int64_t group = groups; group-- > 0;) {
    TileParameters &parameters = tile.groupParameters(group);
    int64_t first = group * size;
    double wanted[kMaxParameters], fromLater[kMaxParameters], best[kMaxParameters], growth = HUGE_VAL;
    for (int i = size; i-- > 0;) {
      const double *line = factor + (first + i) * stride;
      double sum = 0;
      for (int64_t j = first + size; j < unknowns; ++j)
        sum += line[j] * errors[j];
      fromLater[i] = sum;
      for (int j = i + 1; j < size; ++j)
        sum += line[first + j] * errors[first + j];
      errors[first + i] = -sum / line[first + i];
      wanted[i] = static_cast<double>(parameters[i][row]) + change[first + i];
      best[i] = wanted[i] + errors[first + i];
    }
    double high = 0;
    for (int i = 0; i < size; ++i)
      high += i == bits ? best[i] : std::max(best[i], 0.0);
    double chosen[kMaxParameters] = {};
    float chosenStep = 0;
    for (int share = kLeastShare; share <= kGreatestShare; ++share) {
      float step = findStep(best[bits], high, share / 100.0);
      double total = 0, number[kMaxParameters], error[kMaxParameters], left = kGreatestNumber;
      for (int i = size; i-- > 0;) {
        const double *line = factor + (first + i) * stride;
        double sum = fromLater[i];
        for (int j = i + 1; j < size; ++j)
          sum += line[first + j] * error[j];
        double here = wanted[i] - sum / line[first + i], least = i == bits ? kLeastNumber : 0.0;
        number[i] = step > 0 ? std::clamp(std::nearbyint(here / static_cast<double>(step)), least, left) : 0.0;
        left -= number[i];
        error[i] = number[i] * static_cast<double>(step) - wanted[i];
        double distance = line[first + i] * (number[i] * static_cast<double>(step) - here);
        total += distance * distance;
      }
      if (!(total < growth))
        continue;
      growth = total;
      chosenStep = step;
      std::copy(number, number + size, chosen);
      std::copy(error, error + size, errors.begin() + first);
    }
    for (int i = 0; i < size; ++i)
      parameters[i][row] = chosenStep * static_cast<float>(chosen[i]);
    parameters[size][row] = chosenStep;
  }
  isRounded[row] = true;
}

/// Makes all compact scales positive; no value changes.
void TileRefinement::flipNegative() {
  for (int64_t group = 0; group < static_cast<int64_t>(hessian.groups.size()); ++group)
    for (int r = 0; r < tile.rows; ++r)
      if (int flipped = space.flipNegative(tile.groupParameters(group), r))
        for (int64_t k = hessian.groupOffsets[group]; k < hessian.groupOffsets[group + 1]; ++k)
          tile.codes[k * kTileRows + r] ^= static_cast<uint8_t>(flipped);
}

/// Solves for the parameters of `batchRows` rows from `firstRow` on; with `rounds` for compact ones.
void TileRefinement::solveBatch(int64_t firstRow, int64_t batchRows, bool rounds) {
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
    if (rounds) {
      roundRow(row, matrix.data(), stride, right.data());
      continue;
    }
    for (int64_t p = 0; p < groups; ++p)
      for (int i = 0; i < perGroup; ++i)
        tile.groupParameters(p)[i][row] += static_cast<float>(right[p * perGroup + i]);
  }
}

/// With the codes as they are, the parameters of all groups; a row whose loss would not fall stays as it is. With `rounds` compact ones,
/// whatever that costs.
void TileRefinement::solveParameters(bool rounds) {
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
      solveBatch(row, batch, rounds);
  for (int64_t group = 0; group < static_cast<int64_t>(hessian.groups.size()); ++group)
    makeValues(group);
  computeGradient();
  computeDampedLoss(after);
  for (int r = 0; r < kTileRows; ++r) {
    if (after[r] <= before[r] || isRounded[r])
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
  clampedGroups = 0;
  for (int64_t group = 0; group < static_cast<int64_t>(hessian.groups.size()); ++group) {
    TileParameters &parameters = tile.groupParameters(group);
    for (int r = 0; r < tile.rows; ++r)
      clampedGroups += isRounded[r] ? parameters[space.size][r] >= 65504 : space.round(parameters, r);
    makeValues(group);
  }
}

void TileRefinement::run(int64_t maxRounds, double tolerance, std::vector<double> &trace) {
  Losses current, before, least;
  auto record = [&](Losses &out) {
    computeDampedLoss(out);
    double sum = 0;
    for (int64_t r = 0; r < tile.rows; ++r)
      sum += out[r];
    trace.push_back(sum / hessian.scale);
  };
  computeGradient();
  record(current);
  std::copy(current, current + kTileRows, least);
  Tile best = tile;
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
  if (space.isCompact())
    flipNegative();
  for (int rounding = space.isCompact() ? kCompactRoundings : 1; rounding > 0; --rounding) {
    std::fill(isRounded, isRounded + kTileRows, false);
    solveParameters(/*rounds=*/space.isCompact());
    record(current);
    roundParameters();
    computeGradient();
    chooseCodes();
    if (space.isCompact())
      chooseCodes();
    computeGradient();
    computeDampedLoss(current);
    // Rounding may have cost a row more than it gained.
    for (int r = 0; r < kTileRows; ++r) {
      if (current[r] > least[r])
        continue;
      least[r] = current[r];
      auto keep = [&](auto &to, const auto &from) {
        for (size_t i = r; i < to.size(); i += kTileRows)
          to[i] = from[i];
      };
      keep(best.parameters, tile.parameters);
      keep(best.values, tile.values);
      keep(best.codes, tile.codes);
    }
  }
  tile = std::move(best);
  computeLosses();
  double sum = 0;
  for (int64_t r = 0; r < tile.rows; ++r)
    sum += dampedLoss[r];
  trace.push_back(sum);
}
