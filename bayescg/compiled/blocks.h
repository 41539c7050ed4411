// Pairs of sites, one with sixteen at a time, for processors with vectors of sixteen numbers.
//
// Sites of a kind are put in blocks of sixteen that lie close together in memory and in space; a site visits the blocks
// it reaches, and what a pair does to one site it does to the other (Pall and Hess, Comput. Phys. Commun.
// 184, 2641 (2013), have clusters on both sides). A potential is a polynomial of s = r^2 in each of 32 pieces, eight
// to an octave of s or sixteen, whose coefficients stay in registers: look-ups in a table in memory take several times longer than
// all of the rest. Nearer than the first piece the table itself is asked. (-DBAYESCG_LISTS leaves all this out.)

#ifndef BAYESCG_BLOCKS_H_
#define BAYESCG_BLOCKS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && !defined(BAYESCG_LISTS)
#define BAYESCG_BLOCKS 1
#include <immintrin.h>

namespace blocks {

constexpr int kLanes = 16;
constexpr int kPieces = 32;
constexpr int kCoarse = 20;      // of a float's bits, that leaves eight pieces to an octave
constexpr int kFine = 19;        // and sixteen, where two octaves are enough
constexpr double kSeldom = 20.0; // kT; sites are seldom so near that they feel more
constexpr int kDegree = 4;       // of the slope; the energy's is one more
constexpr float kSkin = 1.0f;    // angstrom
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

// A table over s from ``first`` on.
struct Table {
  const float* value;
  const float* slope;
  int nodes;
  float first, step;

  double Value(double s) const {
    const double at = std::max((s - first) / step, 0.0);
    const int node = static_cast<int>(std::min<double>(at, nodes - 1));
    return value[node] + slope[node] * ((s - first) - node * static_cast<double>(step));
  }
  // Differences of values are slopes halfway between nodes.
  double Slope(double s) const {
    const double at = std::min(std::max((s - first) / step - 0.5, 0.0), nodes - 2.0);
    const int node = std::min(static_cast<int>(at), nodes - 3);
    return slope[node] + (slope[node + 1] - slope[node]) * (at - node);
  }
};

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

// Which sites are alike: pairs of sites are of the class of their kinds.
struct Kinds {
  bool known = false;
  int count = 1;
  std::vector<int> of;        // (site,)
  std::vector<int> class_of;  // (kind, kind); -1 where no pair is known

  // False where classes are not those of two kinds.
  bool Find(const int32_t* of_pair, int n) {
    of.assign(n, 0);
    if (of_pair == nullptr) {
      class_of.assign(1, 0);
      return known = true;
    }
    known = false;
    std::vector<int> first;
    for (int i = 0; i < n; ++i) {
      // As a site before, to all others but these two.
      int kind = 0;
      for (; kind < static_cast<int>(first.size()); ++kind) {
        const int j = first[kind];
        const int32_t *a = of_pair + int64_t{i} * n, *b = of_pair + int64_t{j} * n;
        int differ = 0;
        for (int k = 0; k < n; ++k) differ += a[k] != b[k];
        differ -= (a[i] != b[i]) + (a[j] != b[j]);
        if (differ == 0) break;
      }
      if (kind == static_cast<int>(first.size())) {
        if (kind == 8) return false;
        first.push_back(i);
      }
      of[i] = kind;
    }
    count = static_cast<int>(first.size());
    class_of.assign(count * count, -1);
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) {
        if (i == j) continue;
        int& known_class = class_of[of[i] * count + of[j]];
        if (known_class < 0) known_class = of_pair[int64_t{i} * n + j];
        if (known_class != of_pair[int64_t{i} * n + j]) return false;
      }
    return known = true;
  }
};

// Sites of one configuration in blocks, and which blocks each of them reaches.
class Blocks {
 public:
  // Groups of sites that are of one kind and all move or are all held.
  void Sort(const Kinds& kinds, const float* moves, int n) {
    n_ = n;
    group_.clear();
    for (int kind = 0; kind < kinds.count; ++kind)
      for (int held = 0; held < 2; ++held) {
        std::vector<int> sites;
        for (int i = 0; i < n; ++i)
          if (kinds.of[i] == kind && (moves[i] == 0.0f) == (held == 1)) sites.push_back(i);
        if (sites.empty()) continue;
        const int blocks = (static_cast<int>(sites.size()) + kLanes - 1) / kLanes;
        group_.push_back({kind, held == 1, std::move(sites), 0, blocks});
      }
    int blocks = 0;
    for (auto& g : group_) {
      g.first = blocks;
      blocks += g.blocks;
    }
    total_ = blocks;
    const int slots = kLanes * blocks;
    for (auto* a : {&x_, &y_, &z_, &fx_, &fy_, &fz_}) a->resize(slots);
    order_.resize(slots);
    lanes_.resize(blocks);
    // Whole vectors of boxes are read.
    for (auto* a : {&cx_, &cy_, &cz_, &hx_, &hy_, &hz_}) a->assign(blocks + kLanes, 0.0f);
    pairs_.clear();
    for (int a = 0; a < static_cast<int>(group_.size()); ++a)
      for (int b = a; b < static_cast<int>(group_.size()); ++b) {
        const int c = kinds.class_of[group_[a].kind * kinds.count + group_[b].kind];
        if (c >= 0 && !(group_[a].held && group_[b].held)) pairs_.push_back({a, b, c, {}, {}});
      }
  }

  // Blocks, and lists of those within reach; false where positions are no numbers.
  bool List(const float* x, const float* box, float range) {
    for (int i = 0; i < 3 * n_; ++i)
      if (!(std::abs(x[i]) < 1e6f)) return false;
    spots_.resize(n_);
    for (auto& g : group_) {
      const int size = static_cast<int>(g.sites.size());
      for (int k = 0; k < size; ++k) {
        Spot& spot = spots_[k];
        spot.site = g.sites[k];
        for (int axis = 0; axis < 3; ++axis) {
          const float part = x[axis * n_ + spot.site] / box[axis];
          spot.at[axis] = (part - std::floor(part)) * box[axis];
        }
      }
      Split(spots_.data(), size, g.blocks);
      for (int b = 0; b < g.blocks; ++b) {
        const int block = g.first + b, from = b * kLanes, count = std::min(kLanes, size - from);
        lanes_[block] = static_cast<uint16_t>((1u << count) - 1u);
        float low[3], high[3];
        for (int axis = 0; axis < 3; ++axis) low[axis] = high[axis] = spots_[from].at[axis];
        for (int k = 0; k < kLanes; ++k) {
          const Spot& spot = spots_[from + std::min(k, count - 1)];
          order_[block * kLanes + k] = spot.site;
          for (int axis = 0; axis < 3; ++axis) {
            low[axis] = std::min(low[axis], spot.at[axis]);
            high[axis] = std::max(high[axis], spot.at[axis]);
          }
        }
        std::vector<float>* centre[3] = {&cx_, &cy_, &cz_};
        std::vector<float>* half[3] = {&hx_, &hy_, &hz_};
        for (int axis = 0; axis < 3; ++axis) {
          (*centre[axis])[block] = 0.5f * (low[axis] + high[axis]);
          (*half[axis])[block] = 0.5f * (high[axis] - low[axis]);
        }
      }
    }
    Bring(x);
    const float reach = range + kSkin;
    for (auto& p : pairs_) Reach(p, box, reach * reach);
    return true;
  }

  // Adds forces, ``(axis, site)``.
  void Forces(const float* x, const float* box, const Curve* curves, const Table* tables, int silent, float* f) {
    Bring(x);
    for (auto* a : {&fx_, &fy_, &fz_}) std::fill(a->begin(), a->end(), 0.0f);
    for (const auto& p : pairs_)
      if (p.of != silent) Visit<false>(p, box, curves[p.of], tables[p.of]);
    for (int slot = 0; slot < kLanes * total_; ++slot) {
      if (!(lanes_[slot / kLanes] >> slot % kLanes & 1)) continue;
      const int i = order_[slot];
      f[i] += 2.0f * fx_[slot];
      f[n_ + i] += 2.0f * fy_[slot];
      f[2 * n_ + i] += 2.0f * fz_[slot];
    }
  }

  // Of all pairs that are not both held.
  double Energy(const float* x, const float* box, const Curve* curves, const Table* tables, int silent) {
    Bring(x);
    double total = 0.0;
    for (const auto& p : pairs_)
      if (p.of != silent) total += Visit<true>(p, box, curves[p.of], tables[p.of]);
    return total;
  }

 private:
  struct Group {
    int kind;
    bool held;
    std::vector<int> sites;
    int first, blocks;
  };
  struct Pair {
    int a, b, of;
    std::vector<int> start;  // of each site of a, in ``near``
    std::vector<int> near;   // blocks of b
  };
  struct Spot {
    float at[3];
    int site;
  };

  // Sites so that each sixteen of them are neighbours: halves of the blocks along the longest edge, and so on.
  static void Split(Spot* spots, int size, int blocks) {
    if (blocks < 2) return;
    float low[3], high[3];
    for (int axis = 0; axis < 3; ++axis) low[axis] = high[axis] = spots[0].at[axis];
    for (int k = 1; k < size; ++k)
      for (int axis = 0; axis < 3; ++axis) {
        low[axis] = std::min(low[axis], spots[k].at[axis]);
        high[axis] = std::max(high[axis], spots[k].at[axis]);
      }
    int axis = 0;
    for (int k = 1; k < 3; ++k)
      if (high[k] - low[k] > high[axis] - low[axis]) axis = k;
    const int half = blocks / 2, at = half * kLanes;
    std::nth_element(spots, spots + at, spots + size, [axis](const Spot& a, const Spot& b) { return a.at[axis] < b.at[axis]; });
    Split(spots, at, half);
    Split(spots + at, size - at, blocks - half);
  }

  void Bring(const float* x) {
    for (int slot = 0; slot < kLanes * total_; ++slot) {
      const int i = order_[slot];
      x_[slot] = x[i];
      y_[slot] = x[n_ + i];
      z_[slot] = x[2 * n_ + i];
    }
  }

  static __m512 Near(__m512 d, __m512 edge, __m512 per_edge) {
    return _mm512_fnmadd_ps(edge, _mm512_roundscale_ps(_mm512_mul_ps(d, per_edge), 8), d);
  }

  // From a coordinate to the nearest image of a block's box.
  static __m512 Gap(float x, const float* centre, const float* half, __m512 edge, __m512 per_edge) {
    const __m512 d = Near(_mm512_sub_ps(_mm512_loadu_ps(centre), _mm512_set1_ps(x)), edge, per_edge);
    return _mm512_max_ps(_mm512_sub_ps(_mm512_abs_ps(d), _mm512_loadu_ps(half)), _mm512_setzero_ps());
  }

  void Reach(Pair& p, const float* box, float reach2) {
    const Group &a = group_[p.a], &b = group_[p.b];
    const int size = static_cast<int>(a.sites.size());
    p.start.resize(size + 1);
    p.near.resize(static_cast<size_t>(size) * b.blocks + kLanes);
    const __m512 ex = _mm512_set1_ps(box[0]), ey = _mm512_set1_ps(box[1]), ez = _mm512_set1_ps(box[2]);
    const __m512 ix = _mm512_set1_ps(1.0f / box[0]), iy = _mm512_set1_ps(1.0f / box[1]), iz = _mm512_set1_ps(1.0f / box[2]);
    const __m512 most = _mm512_set1_ps(reach2);
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int at = 0;
    for (int k = 0; k < size; ++k) {
      p.start[k] = at;
      const int slot = a.first * kLanes + k;
      // Of two blocks of one group, the later one.
      const int last = b.first + b.blocks;
      for (int block = p.a == p.b ? slot / kLanes : b.first; block < last; block += kLanes) {
        const __m512 dx = Gap(x_[slot], &cx_[block], &hx_[block], ex, ix);
        const __m512 dy = Gap(y_[slot], &cy_[block], &hy_[block], ey, iy);
        const __m512 dz = Gap(z_[slot], &cz_[block], &hz_[block], ez, iz);
        const __m512 s = _mm512_fmadd_ps(dx, dx, _mm512_fmadd_ps(dy, dy, _mm512_mul_ps(dz, dz)));
        __mmask16 in = _mm512_cmp_ps_mask(s, most, _CMP_LT_OQ);
        if (last - block < kLanes) in &= static_cast<__mmask16>((1u << (last - block)) - 1u);
        _mm512_mask_compressstoreu_epi32(&p.near[at], in, _mm512_add_epi32(count, _mm512_set1_epi32(block)));
        at += __builtin_popcount(in);
      }
    }
    p.start[size] = at;
    Prune(p, box, reach2);
  }

  // Leaves out blocks of which a site reaches the box alone: half of all, at the price of a fifth of the forces.
  void Prune(Pair& p, const float* box, float reach2) {
    const Group& a = group_[p.a];
    const __m512 ex = _mm512_set1_ps(box[0]), ey = _mm512_set1_ps(box[1]), ez = _mm512_set1_ps(box[2]);
    const __m512 ix = _mm512_set1_ps(1.0f / box[0]), iy = _mm512_set1_ps(1.0f / box[1]), iz = _mm512_set1_ps(1.0f / box[2]);
    const __m512 most = _mm512_set1_ps(reach2);
    const float *x = x_.data(), *y = y_.data(), *z = z_.data();
    int *near = p.near.data(), to = 0, from = 0;
    const int size = static_cast<int>(a.sites.size());
    for (int k = 0; k < size; ++k) {
      const int slot = a.first * kLanes + k, stop = p.start[k + 1];
      const __m512 xi = _mm512_set1_ps(x[slot]), yi = _mm512_set1_ps(y[slot]), zi = _mm512_set1_ps(z[slot]);
      p.start[k] = to;
      for (; from < stop; ++from) {
        const int block = near[from], first = block * kLanes;
        const __m512 dx = Near(_mm512_sub_ps(_mm512_loadu_ps(x + first), xi), ex, ix);
        const __m512 dy = Near(_mm512_sub_ps(_mm512_loadu_ps(y + first), yi), ey, iy);
        const __m512 dz = Near(_mm512_sub_ps(_mm512_loadu_ps(z + first), zi), ez, iz);
        const __m512 s = _mm512_fmadd_ps(dx, dx, _mm512_fmadd_ps(dy, dy, _mm512_mul_ps(dz, dz)));
        near[to] = block;
        to += _mm512_cmp_ps_mask(s, most, _CMP_LT_OQ) != 0;
      }
    }
    p.start[size] = to;
  }

  // Forces of both sites of every pair, or the pairs' energy.
  template <bool kEnergy>
  double Visit(const Pair& p, const float* box, const Curve& curve, const Table& table) {
    constexpr int kTerms = kEnergy ? kDegree + 2 : kDegree + 1;
    const float(*c)[kPieces] = kEnergy ? curve.energy : curve.slope;
    __m512 low[kTerms], high[kTerms];
    for (int m = 0; m < kTerms; ++m) {
      low[m] = _mm512_loadu_ps(c[m]);
      high[m] = _mm512_loadu_ps(c[m] + kLanes);
    }
    const Group& a = group_[p.a];
    const __m512 ex = _mm512_set1_ps(box[0]), ey = _mm512_set1_ps(box[1]), ez = _mm512_set1_ps(box[2]);
    const __m512 ix = _mm512_set1_ps(1.0f / box[0]), iy = _mm512_set1_ps(1.0f / box[1]), iz = _mm512_set1_ps(1.0f / box[2]);
    const __m512 range2 = _mm512_set1_ps(curve.range2), nearest = _mm512_set1_ps(curve.nearest);
    const __m512i base = _mm512_set1_epi32(curve.base), start = _mm512_set1_epi32(~((1 << curve.shift) - 1));
    const __m128i shift = _mm_cvtsi32_si128(curve.shift);
    const int size = static_cast<int>(a.sites.size());
    // Locals: what is stored might else be any of the members.
    const float *x = x_.data(), *y = y_.data(), *z = z_.data();
    float *fx = fx_.data(), *fy = fy_.data(), *fz = fz_.data();
    const int *start_of = p.start.data(), *near = p.near.data();
    const uint16_t* lanes = lanes_.data();
    double total = 0.0;
    for (int k = 0; k < size; ++k) {
      const int slot = a.first * kLanes + k, own = p.a == p.b ? slot / kLanes : -1;
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

  template <bool kEnergy>
  static __attribute__((noinline)) __m512 FromTable(const Table& table, __m512 s, __mmask16 close, __m512 v) {
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

  int n_ = 0, total_ = 0;
  std::vector<Group> group_;
  std::vector<Pair> pairs_;
  std::vector<Spot> spots_;
  std::vector<float> x_, y_, z_, fx_, fy_, fz_, cx_, cy_, cz_, hx_, hy_, hz_;
  std::vector<int> order_;
  std::vector<uint16_t> lanes_;
};

}  // namespace blocks
#endif
#endif  // BAYESCG_BLOCKS_H_
