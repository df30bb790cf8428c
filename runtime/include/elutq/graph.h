/*===- graph.h - Libraries of plain graphs -----------------------------------*- C -*-===
 *
 * Part of the ELUTQ project, under the Apache License v2.0.
 * SPDX-License-Identifier: Apache-2.0
 *
 *===----------------------------------------------------------------------------------===
 *
 * What a library that `elutq-compile --emit=graph` writes has to offer; it needs no other file. Its signature says which kind it is:
 * version 1 has elutq_graph_run, for one thread. Version 2, a network with constant weights, has the functions behind it, runs on
 * several threads, and holds the graph for one or more choices of its symbolic dimensions.
 *
 *===----------------------------------------------------------------------------------===*/

#ifndef ELUTQ_GRAPH_H
#define ELUTQ_GRAPH_H

#include "elutq/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Null if the processor and the system can execute the code, or else a line that names what they lack, for as long as the library
 * is loaded. Ask before anything else: what elutq_graph_run would say then is the same. */
const char *elutq_graph_check(void);

/* Computes the graph and returns null; or computes nothing and returns what elutq_graph_check returns. inputs[i] and outputs[i] point to the elements of the i-th input and output of the signature, in C's order
 * (the last dimension is contiguous), aligned to 64 bytes. Outputs are written, inputs only read; the two may not overlap. An
 * element of `bool` is a byte, 0 or 1. Any number of threads may call it at a time. */
const char *elutq_graph_run(void *const *inputs, void *const *outputs);

/* JSON, UTF-8, ended by a zero byte:
 *   {"version": 1, "cpu": "znver4", "inputs": [{"name": "x", "type": "float32", "shape": [2, 3]}, ...], "outputs": [...]}
 * Types: float32, float64, float16, bfloat16, bool, int8 to int64, uint8 to uint64; and, as ml_dtypes calls them, float8_e4m3fn,
 * float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu, float4_e2m1fn, int2, int4, uint2, uint4: a byte for each element,
 * those of less than 8 bits in the low ones, with zeros above them. `cpu` is LLVM's name of the processor that the
 * code was compiled for. */
/* Version 2 has, in the order of elutq_graph_compute, what a dimension is called where it is symbolic, and the choices:
 *   {"version": 2, "cpu": "znver4", "inputs": [{"name": "x", "type": "float32", "shape": ["batch", 3]}, ...], "outputs": [...],
 *    "shapes": [{"dims": {"batch": 1}, "inputs": [[1, 3], ...], "outputs": [[1, 4], ...]}, ...]} */
extern const char elutq_graph_signature[];

/* A network with memory of its own for inputs, outputs and what lies between. */
typedef struct elutq_graph elutq_graph;

/* Opens the library's network, with `threads` threads, 0 for one per core that this process may use. NULL where that is not
 * possible, such as on a processor that lacks what the code needs: `*error` says why, until this thread's next call. */
ELUTQ_API elutq_graph *elutq_graph_open(int threads, const char **error);

/* Gives its memory and threads back. NULL is allowed. */
ELUTQ_API void elutq_graph_close(elutq_graph *graph);

/* Computes the network for choice number `shape`. inputs[i] and outputs[i] point to the elements of the i-th input and output in
 * C's order. Results do not depend on the number of threads. Only one thread may use a network at a time. */
ELUTQ_API void elutq_graph_compute(elutq_graph *graph, int shape, const void *const *inputs, void *const *outputs);

#ifdef __cplusplus
}
#endif

#endif /* ELUTQ_GRAPH_H */
