// Visits on processors with vectors of sixteen numbers.
//
// A potential is a polynomial of s = r^2 in each of 32 pieces, eight to an octave of s or sixteen, whose coefficients
// stay in registers: look-ups in a table in memory take several times longer than all of the rest. Nearer than the first
// piece the table itself is asked.

#ifndef BAYESCG_VISITS_WIDE_H_
#define BAYESCG_VISITS_WIDE_H_

#include <cmath>
#include <cstdint>
#include <immintrin.h>

#include "visits.h"

namespace blocks {

constexpr int kLanes = 16;
constexpr int kPieces = 32;
constexpr int kCoarse = 20;      // of a float's bits, that leaves eight pieces to an octave
constexpr int kFine = 19;        // and sixteen, where two octaves are enough
constexpr double kSeldom = 20.0; // kT; sites are seldom so near that they feel more
constexpr int kDegree = 4;       // of the slope; the energy's is one more
constexpr double kFits = 2e-4;   // of 1 kT and the energy itself, that pieces may be off the table

inline int32_t Bits(float a) {
  int32_t b;
  static_assert(sizeof a == sizeof b);
  __builtin_memcpy(&b, &a, sizeof b);
  return b;
}
inline float Number(int32_t b) {
  float a;
  __builtin_memcpy(&a, &b, sizeof a);
  return a;
}

// The inverse of the Vandermonde matrix of Chebyshev's points of the unit interval.
class Interpolation {
 public:
  Interpolation() {
    constexpr int n = kDegree + 1;
    double a[n][2 * n] = {};
    for (int k = 0; k < n; ++k) {
      point[k] = 0.5 * (1.0 - std::cos((2 * k + 1) * M_PI / (2 * n)));
      for (int m = 0; m < n; ++m) a[k][m] = std::pow(point[k], m);
      a[k][n + k] = 1.0;
    }
    for (int c = 0; c < n; ++c) {
      int best = c;
      for (int k = c + 1; k < n; ++k)
        if (std::abs(a[k][c]) > std::abs(a[best][c])) best = k;
      std::swap(a[c], a[best]);
      for (int k = 0; k < n; ++k) {
        const double part = k == c ? 1.0 - 1.0 / a[c][c] : a[k][c] / a[c][c];
        for (int m = 0; m < 2 * n; ++m) a[k][m] -= part * a[c][m];
      }
    }
    for (int k = 0; k < n; ++k)
      for (int m = 0; m < n; ++m) inverse[k][m] = a[k][n + m];
  }
  double point[kDegree + 1], inverse[kDegree + 1][kDegree + 1];
};

// A potential in pieces: energies, continuous, and their exact slopes.
struct Curve {
  float energy[kDegree + 2][kPieces];
  float slope[kDegree + 1][kPieces];
  int shift = kCoarse;
  int32_t base = 0;    // bits of the first piece's start, shifted
  float nearest = 0;   // s where the first piece starts
  float range2 = 0;

  // False where pieces do not follow the table.
  bool Fit(const Table& table, float range) {
    static const Interpolation points;
    range2 = range * range;
    shift = table.Value(Number(((Bits(range2) >> kFine) - (kPieces - 1)) << kFine)) > kSeldom ? kFine : kCoarse;
    base = (Bits(range2) >> shift) - (kPieces - 1);
    nearest = Number(base << shift);
    double above = table.Value(range2);
    for (int p = kPieces - 1; p >= 0; --p) {
      const double start = Number((base + p) << shift), end = Number((base + p + 1) << shift), width = end - start;
      const double stop = p == kPieces - 1 ? range2 : end;
      double f[kDegree + 1], c[kDegree + 1];
      for (int k = 0; k <= kDegree; ++k) f[k] = table.Slope(start + width * points.point[k]);
      for (int m = 0; m <= kDegree; ++m) {
        double sum = 0.0;
        for (int k = 0; k <= kDegree; ++k) sum += points.inverse[m][k] * f[k];
        c[m] = sum / std::pow(width, m);
      }
      auto rise = [&](double d) {
        double sum = 0.0;
        for (int m = kDegree; m >= 0; --m) sum = (sum + c[m] / (m + 1)) * d;
        return sum;
      };
      // Energies are the table's where pieces meet.
      const double low = table.Value(start);
      c[0] += (above - low - rise(stop - start)) / (stop - start);
      for (int m = 0; m <= kDegree; ++m) {
        slope[m][p] = static_cast<float>(c[m]);
        energy[m + 1][p] = static_cast<float>(c[m] / (m + 1));
      }
      energy[0][p] = static_cast<float>(low);
      for (int k = 0; k < 8; ++k) {
        const double d = (stop - start) * (k + 0.5) / 8.0, known = table.Value(start + d);
        if (!(std::abs(low + rise(d) - known) <= kFits * (1.0 + std::abs(known)))) return false;
      }
      above = low;
    }
    return true;
  }
};

inline __m512 Near(__m512 d, __m512 edge, __m512 per_edge) {
  return _mm512_fnmadd_ps(edge, _mm512_roundscale_ps(_mm512_mul_ps(d, per_edge), 8), d);
}

// Of some blocks those that hold a site within reach of the one in ``slot``; into ``out``, and how many.
inline int Touched(const View& of, int slot, const int* blocks, int count, const float* box, float reach2, int* out) {
  const __m512 ex = _mm512_set1_ps(box[0]), ey = _mm512_set1_ps(box[1]), ez = _mm512_set1_ps(box[2]);
  const __m512 ix = _mm512_set1_ps(1.0f / box[0]), iy = _mm512_set1_ps(1.0f / box[1]), iz = _mm512_set1_ps(1.0f / box[2]);
  const __m512 most = _mm512_set1_ps(reach2);
  const __m512 xi = _mm512_set1_ps(of.x[slot]), yi = _mm512_set1_ps(of.y[slot]), zi = _mm512_set1_ps(of.z[slot]);
  int found = 0;
  for (int k = 0; k < count; ++k) {
    const int block = blocks[k], first = block * kLanes;
    const __m512 dx = Near(_mm512_sub_ps(_mm512_loadu_ps(of.x + first), xi), ex, ix);
    const __m512 dy = Near(_mm512_sub_ps(_mm512_loadu_ps(of.y + first), yi), ey, iy);
    const __m512 dz = Near(_mm512_sub_ps(_mm512_loadu_ps(of.z + first), zi), ez, iz);
    const __m512 s = _mm512_fmadd_ps(dx, dx, _mm512_fmadd_ps(dy, dy, _mm512_mul_ps(dz, dz)));
    out[found] = block;
    found += _mm512_cmp_ps_mask(s, most, _CMP_LT_OQ) != 0;
  }
  return found;
}

template <bool kEnergy>
__attribute__((noinline)) __m512 FromTable(const Table& table, __m512 s, __mmask16 close, __m512 v) {
  alignas(64) float at[kLanes], out[kLanes];
  _mm512_store_ps(at, s);
  _mm512_store_ps(out, v);
  for (int lane = 0; lane < kLanes; ++lane) {
    if (!(close >> lane & 1)) continue;
    const float past = at[lane] - table.first;
    const int node = std::max(static_cast<int>(past / table.step), 0);
    out[lane] = kEnergy ? table.value[node] + table.slope[node] * (past - node * table.step) : table.slope[node];
  }
  return _mm512_load_ps(out);
}

// Forces of both sites of every pair, or the pairs' energy.
template <bool kEnergy>
double Visit(const View& of, const Rows& rows, const float* box, const Curve& curve, const Table& table) {
  constexpr int kTerms = kEnergy ? kDegree + 2 : kDegree + 1;
  const float(*c)[kPieces] = kEnergy ? curve.energy : curve.slope;
  __m512 low[kTerms], high[kTerms];
  for (int m = 0; m < kTerms; ++m) {
    low[m] = _mm512_loadu_ps(c[m]);
    high[m] = _mm512_loadu_ps(c[m] + kLanes);
  }
  const __m512 ex = _mm512_set1_ps(box[0]), ey = _mm512_set1_ps(box[1]), ez = _mm512_set1_ps(box[2]);
  const __m512 ix = _mm512_set1_ps(1.0f / box[0]), iy = _mm512_set1_ps(1.0f / box[1]), iz = _mm512_set1_ps(1.0f / box[2]);
  const __m512 range2 = _mm512_set1_ps(curve.range2), nearest = _mm512_set1_ps(curve.nearest);
  const __m512i base = _mm512_set1_epi32(curve.base), start = _mm512_set1_epi32(~((1 << curve.shift) - 1));
  const __m128i shift = _mm_cvtsi32_si128(curve.shift);
  // Locals: what is stored might else be any of what the views point at.
  const float *x = of.x, *y = of.y, *z = of.z;
  float *fx = of.fx, *fy = of.fy, *fz = of.fz;
  const int *start_of = rows.start, *near = rows.near;
  const uint16_t* lanes = of.lanes;
  double total = 0.0;
  for (int k = 0; k < rows.count; ++k) {
    const int slot = rows.first + k, own = rows.one_group ? slot / kLanes : -1;
    const __m512 xi = _mm512_set1_ps(x[slot]), yi = _mm512_set1_ps(y[slot]), zi = _mm512_set1_ps(z[slot]);
    __m512 sx = _mm512_setzero_ps(), sy = sx, sz = sx;
    for (int at = start_of[k], stop = start_of[k + 1]; at < stop; ++at) {
      const int block = near[at], first = block * kLanes;
      const __m512 dx = Near(_mm512_sub_ps(_mm512_loadu_ps(x + first), xi), ex, ix);
      const __m512 dy = Near(_mm512_sub_ps(_mm512_loadu_ps(y + first), yi), ey, iy);
      const __m512 dz = Near(_mm512_sub_ps(_mm512_loadu_ps(z + first), zi), ez, iz);
      const __m512 s = _mm512_fmadd_ps(dx, dx, _mm512_fmadd_ps(dy, dy, _mm512_mul_ps(dz, dz)));
      __mmask16 in = lanes[block];
      if (block == own) in &= static_cast<__mmask16>(0xFFFEu << slot % kLanes);
      in = _mm512_mask_cmp_ps_mask(in, s, range2, _CMP_LT_OQ);
      const __m512i bits = _mm512_castps_si512(s);
      const __m512i piece = _mm512_sub_epi32(_mm512_srl_epi32(bits, shift), base);
      const __m512 d = _mm512_sub_ps(s, _mm512_castsi512_ps(_mm512_and_si512(bits, start)));
      __m512 v = _mm512_permutex2var_ps(low[kTerms - 1], piece, high[kTerms - 1]);
      for (int m = kTerms - 2; m >= 0; --m) v = _mm512_fmadd_ps(v, d, _mm512_permutex2var_ps(low[m], piece, high[m]));
      const __mmask16 close = _mm512_mask_cmp_ps_mask(in, s, nearest, _CMP_LT_OQ);
      if (__builtin_expect(close != 0, 0)) v = FromTable<kEnergy>(table, s, close, v);
      v = _mm512_maskz_mov_ps(in, v);
      if (kEnergy) {
        sx = _mm512_add_ps(sx, v);
        continue;
      }
      const __m512 px = _mm512_mul_ps(v, dx), py = _mm512_mul_ps(v, dy), pz = _mm512_mul_ps(v, dz);
      sx = _mm512_add_ps(sx, px);
      sy = _mm512_add_ps(sy, py);
      sz = _mm512_add_ps(sz, pz);
      _mm512_storeu_ps(fx + first, _mm512_sub_ps(_mm512_loadu_ps(fx + first), px));
      _mm512_storeu_ps(fy + first, _mm512_sub_ps(_mm512_loadu_ps(fy + first), py));
      _mm512_storeu_ps(fz + first, _mm512_sub_ps(_mm512_loadu_ps(fz + first), pz));
    }
    if (kEnergy) {
      total += _mm512_reduce_add_ps(sx);
    } else {
      fx[slot] += _mm512_reduce_add_ps(sx);
      fy[slot] += _mm512_reduce_add_ps(sy);
      fz[slot] += _mm512_reduce_add_ps(sz);
    }
  }
  return total;
}

}  // namespace blocks
#endif  // BAYESCG_VISITS_WIDE_H_
