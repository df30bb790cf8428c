//===- ggml_kernels.cpp - Time products of ggml ---------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// ggml_kernels THREADS: a request is a line `TYPE M N K BYTES SECONDS` on standard input, TYPE a type of ggml such as q2_K; the
// answer on standard output is the median of the microseconds per product, or `error: ...`. A graph has as many products,
// each with weights of its own, as exceed BYTES. Where ggml can repack weights for this processor, both layouts are timed, and the
// faster one counts.
//
//===----------------------------------------------------------------------===//

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace {
struct Request {
  char type[32];
  long long m, n, k, bytes;
  double seconds;
};

constexpr long long kMaxCopies = 512;
constexpr int kMinRuns = 3;
/// Rows that are quantized; the others are copies of them.
constexpr int64_t kRows = 64;

template <typename T, void (*release)(T *)>
struct Releaser {
  void operator()(T *object) const { release(object); }
};
using Context = std::unique_ptr<ggml_context, Releaser<ggml_context, ggml_free>>;
using Buffer = std::unique_ptr<ggml_backend_buffer, Releaser<ggml_backend_buffer, ggml_backend_buffer_free>>;
} // namespace

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static bool findType(const char *name, ggml_type &type) {
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const char *known = ggml_type_name(static_cast<ggml_type>(i));
    if (known && std::strcmp(known, name) == 0) {
      type = static_cast<ggml_type>(i);
      return true;
    }
  }
  return false;
}

/// The rows of a matrix, quantized by ggml.
static std::vector<uint8_t> quantizeRows(ggml_type type, int64_t k, int64_t n) {
  int64_t rows = std::min(kRows, n);
  std::vector<float> values(rows * k);
  uint32_t state = 2463534242u;
  for (float &value : values) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    value = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  size_t rowBytes = ggml_row_size(type, k);
  std::vector<uint8_t> some(rows * rowBytes), all(n * rowBytes);
  ggml_quantize_chunk(type, values.data(), some.data(), 0, rows, k, nullptr);
  for (int64_t row = 0; row < n; ++row)
    std::memcpy(all.data() + row * rowBytes, some.data() + row % rows * rowBytes, rowBytes);
  return all;
}

/// The buffers that the weights of `product` can be in: plain ones, and those with a layout of their own for this processor,
/// in which llama.cpp puts a model's weights.
static std::vector<ggml_backend_buffer_type_t> findBufferTypes(ggml_backend_t backend, ggml_tensor *product) {
  std::vector<ggml_backend_buffer_type_t> result = {ggml_backend_get_default_buffer_type(backend)};
  ggml_backend_dev_t device = ggml_backend_get_device(backend);
  auto extra = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
      ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
  for (ggml_backend_buffer_type_t *kind = extra ? extra(device) : nullptr; kind && *kind; ++kind) {
    // Asked with an empty buffer of that kind, as llama.cpp does.
    Buffer probe(ggml_backend_buft_alloc_buffer(*kind, 0));
    product->src[0]->buffer = probe.get();
    if (ggml_backend_dev_supports_op(device, product))
      result.push_back(*kind);
    product->src[0]->buffer = nullptr;
  }
  return result;
}

namespace {
/// Products of one activation and as many matrices.
struct Products {
  Products(ggml_type type, const Request &request, int copies) {
    size_t meta = ggml_tensor_overhead() * (2 * copies + 8) + ggml_graph_overhead_custom(2 * copies + 8, false);
    weights.reset(ggml_init({meta, nullptr, /*no_alloc=*/true}));
    others.reset(ggml_init({meta, nullptr, /*no_alloc=*/true}));
    x = ggml_new_tensor_2d(others.get(), GGML_TYPE_F32, request.k, request.m);
    graph = ggml_new_graph_custom(others.get(), 2 * copies + 8, false);
    for (int i = 0; i < copies; ++i) {
      matrices.push_back(ggml_new_tensor_2d(weights.get(), type, request.k, request.n));
      results.push_back(ggml_mul_mat(others.get(), matrices.back(), x));
      ggml_build_forward_expand(graph, results.back());
    }
  }

  Context weights, others;
  ggml_tensor *x;
  ggml_cgraph *graph;
  std::vector<ggml_tensor *> matrices, results;
};
} // namespace

/// The median of the seconds of one run of all products; negative for an error.
static double measure(ggml_backend_t backend, ggml_type type, const Request &request, int copies,
                      ggml_backend_buffer_type_t kind, const std::vector<uint8_t> &data) {
  Products products(type, request, copies);
  Buffer weightBuffer(ggml_backend_alloc_ctx_tensors_from_buft(products.weights.get(), kind));
  Buffer otherBuffer(ggml_backend_alloc_ctx_tensors(products.others.get(), backend));
  if (!weightBuffer || !otherBuffer)
    return -1;
  for (ggml_tensor *matrix : products.matrices)
    ggml_backend_tensor_set(matrix, data.data(), 0, data.size());
  std::vector<float> input(request.k * request.m);
  for (size_t i = 0; i < input.size(); ++i)
    input[i] = static_cast<float>(static_cast<int>(i * 2654435761u >> 8 & 0xffff) - 0x8000) * 0x1p-15f;
  ggml_backend_tensor_set(products.x, input.data(), 0, input.size() * sizeof(float));

  // The first run brings the pages in.
  ggml_backend_graph_compute(backend, products.graph);
  std::vector<double> samples;
  double begin = now();
  while (static_cast<int>(samples.size()) < kMinRuns || now() - begin < request.seconds) {
    double start = now();
    if (ggml_backend_graph_compute(backend, products.graph) != GGML_STATUS_SUCCESS)
      return -1;
    samples.push_back(now() - start);
  }
  std::nth_element(samples.begin(), samples.begin() + samples.size() / 2, samples.end());
  return samples[samples.size() / 2];
}

static const char *run(ggml_backend_t backend, const Request &request, double &microseconds) {
  ggml_type type;
  if (!findType(request.type, type))
    return "no such type";
  if (request.k % ggml_blck_size(type) != 0)
    return "K is no multiple of the type's block";
  long long matrixBytes = static_cast<long long>(ggml_row_size(type, request.k)) * request.n;
  int copies = static_cast<int>(std::min(kMaxCopies, (request.bytes + matrixBytes - 1) / matrixBytes));
  std::vector<uint8_t> data = quantizeRows(type, request.k, request.n);
  std::vector<ggml_backend_buffer_type_t> kinds;
  {
    Products probe(type, request, 1);
    kinds = findBufferTypes(backend, probe.results[0]);
  }
  microseconds = -1;
  for (ggml_backend_buffer_type_t kind : kinds) {
    double time = measure(backend, type, request, copies, kind, data) * 1e6 / copies;
    if (time > 0 && (microseconds < 0 || time < microseconds))
      microseconds = time;
  }
  return microseconds < 0 ? "the graph cannot be computed" : nullptr;
}

int main(int argc, char **argv) {
  int threads = argc == 2 ? std::atoi(argv[1]) : 0;
  if (threads < 1) {
    std::fprintf(stderr, "ggml_kernels: expected a number of threads\n");
    return 2;
  }
  // Each repacked matrix would be a line.
  ggml_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
  ggml_backend_t backend = ggml_backend_cpu_init();
  ggml_backend_cpu_set_n_threads(backend, threads);
  char line[256];
  while (std::fgets(line, sizeof line, stdin)) {
    Request request;
    if (std::sscanf(line, "%31s %lld %lld %lld %lld %lf", request.type, &request.m, &request.n, &request.k, &request.bytes,
                    &request.seconds) != 6) {
      std::fprintf(stderr, "ggml_kernels: expected TYPE M N K BYTES SECONDS\n");
      return 2;
    }
    double microseconds = 0;
    if (const char *error = run(backend, request, microseconds))
      std::printf("error: %s\n", error);
    else
      std::printf("%.3f\n", microseconds);
    std::fflush(stdout);
  }
  ggml_backend_free(backend);
  return 0;
}
