/*===- Quantize.h - C interface of the solver --------------------*- C -*-===*\
|*
|* Part of the ELUTQ project, under the Apache License v2.0.
|* SPDX-License-Identifier: Apache-2.0
|*
|*===----------------------------------------------------------------------===*|
|*
|* Fits HLQ parameters and codes to matrices, in libelutq-quantize; what it does is described in
|* elutq/Quantize/HessianSolver.h. Conventions:
|*
|* - A function that can fail returns 0, or null, for failure; elutqQuantizeGetLastError() tells what happened in the calling
|*   thread. Outputs are then undefined.
|* - A Hessian may be used from several threads at once.
|* - Structs begin with their size: fields that a caller's struct lacks have their defaults.
|*
\*===----------------------------------------------------------------------===*/

#ifndef ELUTQ_C_QUANTIZE_H
#define ELUTQ_C_QUANTIZE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ELUTQ_QUANTIZE_API __attribute__((visibility("default")))
#else
#define ELUTQ_QUANTIZE_API
#endif

/** Changes when existing callers must be recompiled. */
#define ELUTQ_QUANTIZE_VERSION 2u

typedef struct ElutqHessian ElutqHessian;

typedef enum ElutqDataType { ELUTQ_F32 = 0, ELUTQ_F16 = 1, ELUTQ_BF16 = 2 } ElutqDataType;
typedef enum ElutqParameterKind { ELUTQ_HLQ = 0, ELUTQ_UNIFORM = 1, ELUTQ_TERNARY = 2, ELUTQ_COMPACT = 3 } ElutqParameterKind;
typedef enum ElutqColumnOrder { ELUTQ_NATURAL = 0, ELUTQ_GROUPS = 1, ELUTQ_COLUMNS = 2 } ElutqColumnOrder;

/** A matrix of `rows` outputs by `columns` inputs; strides count elements. */
typedef struct ElutqMatrix {
  uint32_t structSize;
  int32_t type; /**< An ElutqDataType. */
  const void *data;
  int64_t rows, columns, rowStride, columnStride;
} ElutqMatrix;

typedef struct ElutqHessianOptions {
  uint32_t structSize;
  uint32_t threads; /**< 0: one per processor. No result depends on it. */
  int32_t order;    /**< An ElutqColumnOrder. */
  int32_t isDiagonal; /**< Whether only the diagonal is given. */
  int64_t groupSize;
  double damping; /**< As a share of the mean diagonal. */
} ElutqHessianOptions;

typedef struct ElutqHessianInfo {
  uint32_t structSize;
  int32_t isDiagonal;
  int64_t size, groupSize, deadColumns;
  double damping; /**< What was added in fact. */
} ElutqHessianInfo;

typedef struct ElutqSolveOptions {
  uint32_t structSize;
  uint32_t threads;
  int32_t kind; /**< An ElutqParameterKind. */
  int32_t bits; /**< 1 to 4; 8 only without a Hessian. */
  int64_t groupSize; /**< That of the Hessian if there is one. */
  int64_t fitIterations, starts, maxRounds;
  int32_t isWeighted, hasFeedback, hasFrozenCodes;
  double tolerance;
  /** Called with the rows finished so far, from any thread, one call at a time; 0 ends the work. May be null. */
  int32_t (*progress)(void *user, int64_t done, int64_t total);
  void *user;
} ElutqSolveOptions;

typedef struct ElutqSolveReport {
  uint32_t structSize;
  int64_t rounds, clampedGroups;
  double loss, squaredError, squaredNorm, cpuSeconds;
} ElutqSolveReport;

/** The version of the linked library; compare it with ELUTQ_QUANTIZE_VERSION. */
ELUTQ_QUANTIZE_API uint32_t elutqQuantizeGetVersion(void);

/** What went wrong in the last call that failed in this thread. */
ELUTQ_QUANTIZE_API const char *elutqQuantizeGetLastError(void);

/** The defaults. */
ELUTQ_QUANTIZE_API void elutqHessianOptionsInit(ElutqHessianOptions *options);
ELUTQ_QUANTIZE_API void elutqSolveOptionsInit(ElutqSolveOptions *options);

/** Copies and factors `h` `[size][size]`, or `[size]` if diagonal. */
ELUTQ_QUANTIZE_API ElutqHessian *elutqHessianCreate(const float *h, int64_t size, const ElutqHessianOptions *options);
ELUTQ_QUANTIZE_API void elutqHessianDestroy(ElutqHessian *hessian);
ELUTQ_QUANTIZE_API void elutqHessianGetInfo(const ElutqHessian *hessian, ElutqHessianInfo *info);

/** (w - v) H (w - v)^T of each row of two contiguous matrices, without damping. */
ELUTQ_QUANTIZE_API void elutqHessianComputeLoss(const ElutqHessian *hessian, const float *weights, const float *values,
                                                int64_t rows, double *loss, uint32_t threads);

/** Bytes of planes or codes, the number of f16 scales, and bytes of zeros that elutqSolve writes. */
ELUTQ_QUANTIZE_API void elutqSolveGetSizes(int64_t rows, int64_t columns, const ElutqSolveOptions *options, int64_t *planeBytes,
                                           int64_t *scales, int64_t *zeroBytes);

/** Quantizes a matrix; without a Hessian by its values alone. `zeros` are f16 `[rows][G]`, or with compact parameters bytes `[rows][G][bits + 1]`:
 *  the ratios of the planes, and the code of a weight without bits, which is 128 more than its number of steps. `rowLoss` `[rows]` and `report` may be null; with 8 bits
 *  `rowLoss` must be. */
ELUTQ_QUANTIZE_API int32_t elutqSolve(const ElutqMatrix *weights, const ElutqHessian *hessian, const ElutqSolveOptions *options,
                                      uint8_t *planes, uint16_t *scales, void *zeros, double *rowLoss,
                                      ElutqSolveReport *report);

#ifdef __cplusplus
}
#endif

#endif /* ELUTQ_C_QUANTIZE_H */
