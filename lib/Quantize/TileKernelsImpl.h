//===- TileKernelsImpl.h - The loops, for whatever is built ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Included once by each source file that builds it for an instruction set. Everything here has internal linkage and nothing
// comes from the standard library but types: a function that two of those files shared could be the one that this machine lacks.
//
//===----------------------------------------------------------------------===//

#include "TileKernels.h"

namespace elutq::quantize {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kPanelRows = 6, kPanelVectors = 4, kPanels = 8;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kPanelRows = 4, kPanelVectors = 2, kPanels = 12;
#else
constexpr int kVectorBytes = 16, kPanelRows = 4, kPanelVectors = 2, kPanels = 12;
#endif

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(kVectorBytes)));
};
typedef VectorOf<float>::Type Floats;
typedef int32_t Ints __attribute__((vector_size(kVectorBytes)));
constexpr int kLanesOfFloats = kVectorBytes / 4;
typedef uint8_t Bytes __attribute__((vector_size(kLanesOfFloats)));

#define ELUTQ_INLINE inline __attribute__((always_inline))

template <typename V, typename T>
ELUTQ_INLINE V load(const T *from) {
  V value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

template <typename V, typename T>
ELUTQ_INLINE void store(T *to, V value) {
  __builtin_memcpy(to, &value, sizeof value);
}

/// Less 0, and not plus 0, which would be an addition: -0 + 0 is 0.
template <typename V, typename T>
ELUTQ_INLINE V splat(T value) {
  return value - V{};
}

/// A choice per lane.
ELUTQ_INLINE Floats choose(Ints mask, Floats yes, Floats no) { return mask ? yes : no; }
ELUTQ_INLINE Ints choose(Ints mask, Ints yes, Ints no) { return mask ? yes : no; }

/// `Rows` rows of the product, in registers while all of `depth` is added.
template <typename T, int Rows, int Vectors>
ELUTQ_INLINE void multiplyPanel(const T *a, int64_t depth, const T *b, int64_t bStride, T *c, int64_t cStride) {
  typedef typename VectorOf<T>::Type V;
  constexpr int lanes = kVectorBytes / static_cast<int>(sizeof(T));
  V sum[Rows][Vectors];
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v)
      sum[i][v] = load<V>(c + i * cStride + v * lanes);
  for (int64_t k = 0; k < depth; ++k) {
    V right[Vectors];
    for (int v = 0; v < Vectors; ++v)
      right[v] = load<V>(b + k * bStride + v * lanes);
    for (int i = 0; i < Rows; ++i) {
      V left = splat<V>(a[k * Rows + i]);
      for (int v = 0; v < Vectors; ++v)
        sum[i][v] -= left * right[v];
    }
  }
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v)
      store(c + i * cStride + v * lanes, sum[i][v]);
}

/// Packs `Panels` times `Rows` columns of `a`, several cache lines of each of its rows at once, and multiplies them by all of `b`.
template <typename T, int Rows, int Panels>
ELUTQ_INLINE void multiplyRows(const T *a, int64_t aStride, int64_t depth, const T *b, int64_t bStride, T *c,
                               int64_t cStride) {
  constexpr int strip = kPanelVectors * kVectorBytes / static_cast<int>(sizeof(T));
  T packed[Panels][kMaxDepth * Rows];
  for (int64_t k = 0; k < depth; ++k)
    for (int p = 0; p < Panels; ++p)
      __builtin_memcpy(packed[p] + k * Rows, a + k * aStride + p * Rows, Rows * sizeof(T));
  for (int column = 0; column < kTileRows; column += strip)
    for (int p = 0; p < Panels; ++p)
      multiplyPanel<T, Rows, kPanelVectors>(packed[p], depth, b + column, bStride, c + p * Rows * cStride + column, cStride);
}

template <typename T>
void multiply(const T *a, int64_t aStride, int64_t rows, int64_t depth, const T *b, int64_t bStride, T *c,
              int64_t cStride) {
  int64_t i = 0;
  for (; i + kPanels * kPanelRows <= rows; i += kPanels * kPanelRows)
    multiplyRows<T, kPanelRows, kPanels>(a + i, aStride, depth, b, bStride, c + i * cStride, cStride);
  for (; i + kPanelRows <= rows; i += kPanelRows)
    multiplyRows<T, kPanelRows, 1>(a + i, aStride, depth, b, bStride, c + i * cStride, cStride);
  for (; i < rows; ++i)
    multiplyRows<T, 1, 1>(a + i, aStride, depth, b, bStride, c + i * cStride, cStride);
}

/// Puts the smaller of two words first, in all rows.
ELUTQ_INLINE void compareExchange(TileWords &words, int i, int j) {
  for (int r = 0; r < kTileRows; r += kLanesOfFloats) {
    Floats a = load<Floats>(words.word[i] + r), b = load<Floats>(words.word[j] + r);
    Ints first = load<Ints>(words.code[i] + r), second = load<Ints>(words.code[j] + r);
    Ints swap = a > b;
    store(words.word[i] + r, choose(swap, b, a));
    store(words.word[j] + r, choose(swap, a, b));
    store(words.code[i] + r, choose(swap, second, first));
    store(words.code[j] + r, choose(swap, first, second));
  }
}

/// Batcher's odd-even merge sort: the same comparisons whatever the words.
void sortWords(TileWords &words, int bits) {
  int size = 1 << bits;
  for (int p = 1; p < size; p *= 2)
    for (int k = p; k >= 1; k /= 2)
      for (int j = k % p; j + k < size; j += 2 * k)
        for (int i = 0; i < k && i + j + k < size; ++i)
          if ((i + j) / (2 * p) == (i + j + k) / (2 * p))
            compareExchange(words, i + j, i + j + k);
  for (int t = 0; t + 1 < size; ++t)
    for (int r = 0; r < kTileRows; ++r)
      // Halves first: the sum of two words may overflow.
      words.threshold[t][r] = 0.5f * words.word[t][r] + 0.5f * words.word[t + 1][r];
}

/// Sums over `columns` for thresholds `first` to `first + Count`. Single precision within 128 columns.
template <int Count>
void accumulateThresholds(const TileWords &words, int first, int64_t columns, const float *values,
                          const float *weightedValues, const float *columnWeights, double (*counts)[kTileRows],
                          double (*sums)[kTileRows]) {
  for (int r = 0; r < kTileRows; r += kLanesOfFloats) {
    Floats threshold[Count];
    for (int t = 0; t < Count; ++t)
      threshold[t] = load<Floats>(words.threshold[first + t] + r);
    for (int64_t begin = 0; begin < columns; begin += 128) {
      int64_t end = begin + 128 < columns ? begin + 128 : columns;
      Floats count[Count] = {}, sum[Count] = {};
      for (int64_t k = begin; k < end; ++k) {
        Floats value = load<Floats>(values + k * kTileRows + r), weighted = load<Floats>(weightedValues + k * kTileRows + r);
        Floats weight = splat<Floats>(columnWeights[k]);
        for (int t = 0; t < Count; ++t) {
          Ints above = value > threshold[t];
          count[t] += (Floats)((Ints)weight & above);
          sum[t] += (Floats)((Ints)weighted & above);
        }
      }
      for (int t = 0; t < Count; ++t)
        for (int lane = 0; lane < kLanesOfFloats; ++lane) {
          counts[first + t][r + lane] += static_cast<double>(count[t][lane]);
          sums[first + t][r + lane] += static_cast<double>(sum[t][lane]);
        }
    }
  }
}

void accumulateAbove(const TileWords &words, int bits, int64_t columns, const float *values, const float *weightedValues,
                     const float *columnWeights, double (*counts)[kTileRows], double (*sums)[kTileRows]) {
  int thresholds = (1 << bits) - 1, first = 0;
  for (; first + 3 <= thresholds; first += 3)
    accumulateThresholds<3>(words, first, columns, values, weightedValues, columnWeights, counts, sums);
  for (; first < thresholds; ++first)
    accumulateThresholds<1>(words, first, columns, values, weightedValues, columnWeights, counts, sums);
}

/// The word nearest to `target` in the rows from `r` on, and its code.
template <int Bits>
ELUTQ_INLINE Floats nearest(const TileWords &words, int r, Floats target, Ints &code) {
  Floats value = load<Floats>(words.word[0] + r);
  code = load<Ints>(words.code[0] + r);
  for (int t = 0; t + 1 < 1 << Bits; ++t) {
    Ints above = target > load<Floats>(words.threshold[t] + r);
    value = choose(above, load<Floats>(words.word[t + 1] + r), value);
    code = choose(above, load<Ints>(words.code[t + 1] + r), code);
  }
  return value;
}

template <int Bits>
void assignWords(const TileWords &words, int64_t columns, const float *weights, const float *columnWeights, float *values,
                 uint8_t *codes, double *errors) {
  for (int r = 0; r < kTileRows; r += kLanesOfFloats) {
    for (int lane = 0; lane < kLanesOfFloats; ++lane)
      errors[r + lane] = 0;
    for (int64_t begin = 0; begin < columns; begin += 128) {
      int64_t end = begin + 128 < columns ? begin + 128 : columns;
      Floats error = {};
      for (int64_t k = begin; k < end; ++k) {
        Floats weight = load<Floats>(weights + k * kTileRows + r);
        Ints code;
        Floats value = nearest<Bits>(words, r, weight, code);
        Floats difference = weight - value;
        error += difference * difference * columnWeights[k];
        store(values + k * kTileRows + r, value);
        store(codes + k * kTileRows + r, __builtin_convertvector(code, Bytes));
      }
      for (int lane = 0; lane < kLanesOfFloats; ++lane)
        errors[r + lane] += static_cast<double>(error[lane]);
    }
  }
}

template <int Bits>
void feedbackBlock(const TileWords &words, const FeedbackBlock &block, bool frozen) {
  for (int r = 0; r < kTileRows; r += kLanesOfFloats) {
    for (int64_t k = 0; k < block.columns; ++k) {
      int64_t at = k * kTileRows + r;
      Floats weight = load<Floats>(block.weights + at), value;
      if (frozen) {
        value = load<Floats>(block.values + at);
      } else {
        Ints code;
        value = nearest<Bits>(words, r, weight, code);
        store(block.values + at, value);
        store(block.codes + at, __builtin_convertvector(code, Bytes));
      }
      Floats error = (weight - value) * block.inverseDiagonal[k];
      store(block.errors + at, error);
      const float *factor = block.factor + k * block.stride;
      for (int64_t j = k + 1; j < block.columns; ++j) {
        float *later = block.weights + j * kTileRows + r;
        store(later, load<Floats>(later) - error * factor[j]);
      }
    }
  }
}

template <int Bits>
void descendBlock(const TileWords &words, const DescentBlock &block) {
  for (int r = 0; r < kTileRows; r += kLanesOfFloats) {
    Ints active = load<Ints>(block.active + r);
    Floats gradient[kBlockColumns];
    for (int64_t k = 0; k < block.columns; ++k)
      gradient[k] = load<Floats>(block.gradient + k * kTileRows + r);
    for (int64_t k = 0; k < block.columns; ++k) {
      int64_t at = k * kTileRows + r;
      Floats old = load<Floats>(block.values + at);
      Ints code, oldCode = __builtin_convertvector(load<Bytes>(block.codes + at), Ints);
      Floats value = nearest<Bits>(words, r, old + gradient[k] * block.inverseDiagonal[k], code);
      value = choose(active, value, old);
      Floats change = value - old;
      store(block.values + at, value);
      store(block.codes + at, __builtin_convertvector(choose(active, code, oldCode), Bytes));
      store(block.changes + at, change);
      const float *hessian = block.hessian + k * block.stride;
      for (int64_t j = k + 1; j < block.columns; ++j)
        gradient[j] -= change * hessian[j];
    }
  }
}

void dotLanes(const float *a, const float *b, int64_t depth, float *out) {
  for (int r = 0; r < kTileRows; r += kLanesOfFloats) {
    Floats sum = {};
    for (int64_t k = 0; k < depth; ++k)
      sum += load<Floats>(a + k * kTileRows + r) * load<Floats>(b + k * kTileRows + r);
    store(out + r, sum);
  }
}

void assign(const TileWords &words, int bits, int64_t columns, const float *weights, const float *columnWeights,
            float *values, uint8_t *codes, double *errors) {
  auto run = bits == 1 ? assignWords<1> : bits == 2 ? assignWords<2> : bits == 3 ? assignWords<3> : assignWords<4>;
  run(words, columns, weights, columnWeights, values, codes, errors);
}

void feedback(const TileWords &words, int bits, const FeedbackBlock &block, bool frozen) {
  auto run = bits == 1 ? feedbackBlock<1> : bits == 2 ? feedbackBlock<2> : bits == 3 ? feedbackBlock<3> : feedbackBlock<4>;
  run(words, block, frozen);
}

void descend(const TileWords &words, int bits, const DescentBlock &block) {
  auto run = bits == 1 ? descendBlock<1> : bits == 2 ? descendBlock<2> : bits == 3 ? descendBlock<3> : descendBlock<4>;
  run(words, block);
}

constexpr TileKernels kKernels = {multiply<float>, multiply<double>, sortWords, accumulateAbove,
                                  assign,          feedback,         descend,   dotLanes};

} // namespace
} // namespace elutq::quantize
