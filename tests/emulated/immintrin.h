// The instructions of AVX-512 that kernels use, as loops: so that their code for such processors is tested on any.

#ifndef BAYESCG_EMULATED_H_
#define BAYESCG_EMULATED_H_

#include_next <immintrin.h>

#include <cmath>
#include <cstring>

namespace emulated {

struct Floats {
  float at[16];
};
struct Ints {
  int at[16];
};

template <typename F>
Floats Each(const F& f) {
  Floats out;
  for (int i = 0; i < 16; ++i) out.at[i] = f(i);
  return out;
}
template <typename F>
Ints EachInt(const F& f) {
  Ints out;
  for (int i = 0; i < 16; ++i) out.at[i] = f(i);
  return out;
}

inline Floats Load(const float* from) {
  Floats out;
  std::memcpy(out.at, from, sizeof out.at);
  return out;
}
inline void Store(float* to, Floats v) { std::memcpy(to, v.at, sizeof v.at); }
inline Floats All(float a) { return Each([&](int) { return a; }); }
inline Floats None() { return All(0.0f); }
inline Ints AllInts(int a) { return EachInt([&](int) { return a; }); }
inline Floats Add(Floats a, Floats b) { return Each([&](int i) { return a.at[i] + b.at[i]; }); }
inline Floats Sub(Floats a, Floats b) { return Each([&](int i) { return a.at[i] - b.at[i]; }); }
inline Floats Mul(Floats a, Floats b) { return Each([&](int i) { return a.at[i] * b.at[i]; }); }
inline Floats Fmadd(Floats a, Floats b, Floats c) {
  return Each([&](int i) { return std::fma(a.at[i], b.at[i], c.at[i]); });
}
inline Floats Fnmadd(Floats a, Floats b, Floats c) {
  return Each([&](int i) { return std::fma(-a.at[i], b.at[i], c.at[i]); });
}
inline Floats Round(Floats a, int) { return Each([&](int i) { return std::nearbyint(a.at[i]); }); }
inline unsigned short Less(Floats a, Floats b, int) {
  unsigned mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<unsigned>(a.at[i] < b.at[i]) << i;
  return static_cast<unsigned short>(mask);
}
inline unsigned short LessOf(unsigned short in, Floats a, Floats b, int how) { return in & Less(a, b, how); }
inline Ints Bits(Floats a) {
  Ints out;
  std::memcpy(out.at, a.at, sizeof a.at);
  return out;
}
inline Floats Numbers(Ints a) {
  Floats out;
  std::memcpy(out.at, a.at, sizeof a.at);
  return out;
}
inline Ints Right(Ints a, __m128i by) {
  const int n = _mm_cvtsi128_si32(by);
  return EachInt([&](int i) { return static_cast<int>(static_cast<unsigned>(a.at[i]) >> n); });
}
inline Ints SubInts(Ints a, Ints b) { return EachInt([&](int i) { return a.at[i] - b.at[i]; }); }
inline Ints And(Ints a, Ints b) { return EachInt([&](int i) { return a.at[i] & b.at[i]; }); }
inline Floats Of(Floats low, Ints at, Floats high) {
  return Each([&](int i) { return at.at[i] & 16 ? high.at[at.at[i] & 15] : low.at[at.at[i] & 15]; });
}
inline Floats Where(unsigned short in, Floats a) {
  return Each([&](int i) { return in >> i & 1 ? a.at[i] : 0.0f; });
}
inline float Sum(Floats a) {
  float sum = 0.0f;
  for (const float v : a.at) sum += v;
  return sum;
}

}  // namespace emulated

#define __m512 emulated::Floats
#define __m512i emulated::Ints
#define _mm512_loadu_ps emulated::Load
#define _mm512_load_ps emulated::Load
#define _mm512_storeu_ps emulated::Store
#define _mm512_store_ps emulated::Store
#define _mm512_sub_ps emulated::Sub
#define _mm512_add_ps emulated::Add
#define _mm512_mul_ps emulated::Mul
#define _mm512_fmadd_ps emulated::Fmadd
#define _mm512_fnmadd_ps emulated::Fnmadd
#define _mm512_roundscale_ps emulated::Round
#define _mm512_set1_ps emulated::All
#define _mm512_setzero_ps emulated::None
#define _mm512_set1_epi32 emulated::AllInts
#define _mm512_cmp_ps_mask emulated::Less
#define _mm512_mask_cmp_ps_mask emulated::LessOf
#define _mm512_castps_si512 emulated::Bits
#define _mm512_castsi512_ps emulated::Numbers
#define _mm512_srl_epi32 emulated::Right
#define _mm512_sub_epi32 emulated::SubInts
#define _mm512_and_si512 emulated::And
#define _mm512_permutex2var_ps emulated::Of
#define _mm512_maskz_mov_ps emulated::Where
#define _mm512_reduce_add_ps emulated::Sum

#endif  // BAYESCG_EMULATED_H_
