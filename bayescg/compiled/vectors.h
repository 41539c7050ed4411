// Eight numbers at a time, by the compiler's own vectors: two registers of four where there are none of eight.

#ifndef BAYESCG_VECTORS_H_
#define BAYESCG_VECTORS_H_

#include <cmath>
#include <cstdint>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace vectors {

constexpr int kWidth = 8;  // numbers of a vector

typedef float Four __attribute__((vector_size(16)));
typedef float Eight __attribute__((vector_size(32)));
typedef int EightInts __attribute__((vector_size(32)));
typedef float AnyEight __attribute__((vector_size(32), aligned(4)));  // anywhere in memory
typedef int AnyEightInts __attribute__((vector_size(32), aligned(4)));

inline Eight Load(const float* from) { return *reinterpret_cast<const AnyEight*>(from); }
inline void Store(float* to, Eight v) { *reinterpret_cast<AnyEight*>(to) = v; }
inline Eight All(float a) { return Eight{a, a, a, a, a, a, a, a}; }

// Whether any of a comparison's answers is true.
inline bool Any(EightInts mask) {
#ifdef __AVX2__
  return _mm256_movemask_ps(reinterpret_cast<__m256>(mask)) != 0;
#else
  int any = 0;
  for (int l = 0; l < kWidth; ++l) any |= mask[l];
  return any != 0;
#endif
}

// To the nearest whole number; of two, either. (A loop with std::rint would not become vector instructions.)
inline Eight Round(Eight q) {
#ifdef __AVX2__
  return _mm256_round_ps(q, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  const Eight half = All(0.5f);
  return __builtin_convertvector(__builtin_convertvector(q + (q > 0.0f ? half : -half), EightInts), Eight);
#endif
}

// The nearest image of a separation.
inline Eight Near(Eight d, float edge, float per_edge) { return d - edge * Round(d * per_edge); }

inline float Sum(Eight v) {
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7);
  v += __builtin_shufflevector(v, v, 2, 3, 2, 3, 2, 3, 2, 3);
  return v[0] + v[1];
}

// Entries of a table.
inline Eight Look(const float* table, EightInts at) {
#ifdef __AVX2__
  return _mm256_i32gather_ps(table, reinterpret_cast<__m256i>(at), 4);
#else
  return Eight{table[at[0]], table[at[1]], table[at[2]], table[at[3]],
               table[at[4]], table[at[5]], table[at[6]], table[at[7]]};
#endif
}

// Coordinates of eight sites. Loads of whole sites and shuffles take half the time of gathered coordinates.
inline void Coordinates(const Four* place, const int* of, Eight& x, Eight& y, Eight& z) {
  Eight c[4];
  for (int k = 0; k < 4; ++k)
    c[k] = __builtin_shufflevector(place[of[k]], place[of[k + 4]], 0, 1, 2, 3, 4, 5, 6, 7);
  const Eight a = __builtin_shufflevector(c[0], c[1], 0, 8, 1, 9, 4, 12, 5, 13);
  const Eight b = __builtin_shufflevector(c[2], c[3], 0, 8, 1, 9, 4, 12, 5, 13);
  x = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
  y = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  z = __builtin_shufflevector(__builtin_shufflevector(c[0], c[1], 2, 10, 3, 11, 6, 14, 7, 15),
                              __builtin_shufflevector(c[2], c[3], 2, 10, 3, 11, 6, 14, 7, 15),  //
                              0, 1, 8, 9, 4, 5, 12, 13);
}

inline Eight Sqrt(Eight v) {
#ifdef __AVX2__
  return _mm256_sqrt_ps(v);
#else
  for (int l = 0; l < kWidth; ++l) v[l] = std::sqrt(v[l]);
  return v;
#endif
}

// exp, to a few roundings, of numbers that are not positive.
inline Eight Exp(Eight v) {
  v = v > -87.0f ? v : All(-87.0f);
  const Eight k = Round(v * 1.44269504f);
  const Eight f = (v - k * 0.693359375f) + k * 2.12194440e-4f;  // log 2 in two parts
  Eight p = All(1.0f / 720) * f + 1.0f / 120;
  p = p * f + 1.0f / 24;
  p = p * f + 1.0f / 6;
  p = p * f + 0.5f;
  p = (p * f) * f + f + 1.0f;
  return p * reinterpret_cast<Eight>((__builtin_convertvector(k, EightInts) + 127) << 23);
}

}  // namespace vectors
#endif  // BAYESCG_VECTORS_H_
