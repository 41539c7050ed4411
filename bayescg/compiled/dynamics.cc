// Forces from tables and trajectories of many configurations, for XLA on the CPU.
//
// A configuration is one task: its sites, its table and its lists of neighbours fit the first levels of cache, and
// nothing is shared between tasks. Tables are those of bayescg.samplers.forces: over s = r^2, linear between nodes;
// energies are in kT, lengths in angstrom, masses 1. Random numbers are Philox's (Salmon et al., SC11), counted by
// configuration and step, so that results do not depend on how many threads there are.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "batch.h"
#include "blocks.h"
#include "vectors.h"

using Floats = ffi::Buffer<ffi::F32>;
using Ints = ffi::Buffer<ffi::S32>;
using Keys = ffi::Buffer<ffi::U32>;
using OutFloats = ffi::ResultBuffer<ffi::F32>;

namespace {

using namespace vectors;

constexpr float kFirst = 1.0f;  // angstrom; FIRST of bayescg.samplers.forces

// What all configurations have in common.
struct Model {
  int sites;
  int chains;
  int classes;  // of pairs, with a table of their own each
  int silent;   // the class that feels nothing; -1: none
  int nodes;    // of one class's table
  bool own_tables;  // whether tables have a chain axis
  const float* value;
  const float* slope;
  float step;
  float box[3];
  float range;
  float skin;
  const int32_t* of_pair;  // (site, site); null where all pairs are alike
  const float* strength;   // of the three-body term, (chain,) or one for all; null where there is none
  bool own_strength;
  float cosine, decay, reach;  // cos(eta_0), gamma sigma and a_3 sigma of it
#ifdef BAYESCG_BLOCKS
  blocks::Kinds kinds;                // known where pairs are visited in blocks
  std::vector<blocks::Curve> curves;  // of each class, where all chains have the same
#endif
};

#ifdef BAYESCG_BLOCKS
constexpr int kFewest = 96;  // sites that are worth blocks

std::vector<blocks::Table> TablesOf(const Model& m, const float* value, const float* slope) {
  std::vector<blocks::Table> out;
  for (int c = 0; c < m.classes; ++c)
    out.push_back({value + int64_t{c} * m.nodes, slope + int64_t{c} * m.nodes, m.nodes, kFirst * kFirst, m.step});
  return out;
}

// Curves of all classes but the silent one; none where one cannot be had.
std::vector<blocks::Curve> CurvesOf(const Model& m, const std::vector<blocks::Table>& tables) {
  std::vector<blocks::Curve> out(m.classes);
  for (int c = 0; c < m.classes; ++c)
    if (c != m.silent && !out[c].Fit(tables[c], m.range)) return {};
  return out;
}
#endif

// Where two sites are so near the end of the three-body weight that it is nothing, angstrom.
constexpr float kEnd = 1e-3f;
constexpr float kFar = 1e6f;  // angstrom; what is farther from the origin has blown up

// One configuration.
class Configuration {
 public:
  Configuration(const Model& model, int chain)
      : m_(model), chain_(chain), n_(model.sites), x_(3 * n_), f_(3 * n_), made_(3 * n_), s_(n_), moves_(n_, 1.0f), place_(n_) {
    if (m_.strength != nullptr) strength_ = m_.strength[m_.own_strength ? chain : 0];
    const int64_t size = int64_t{m_.classes} * m_.nodes;
    if (m_.own_tables) {
      own_value_.resize(size);
      own_slope_.resize(size);
      for (int64_t i = 0; i < size; ++i) {
        own_value_[i] = m_.value[i * m_.chains + chain];
        own_slope_[i] = m_.slope[i * m_.chains + chain];
      }
      value_ = own_value_.data();
      slope_ = own_slope_.data();
    } else {
      value_ = m_.value;
      slope_ = m_.slope;
    }
    for (int k = 0; k < 3; ++k) per_box_[k] = 1.0f / m_.box[k];
#ifdef BAYESCG_BLOCKS
    if (m_.kinds.known) {
      tables_ = TablesOf(m_, value_, slope_);
      if (m_.own_tables) own_curves_ = CurvesOf(m_, tables_);
      curves_ = m_.own_tables ? &own_curves_ : &m_.curves;
      in_blocks_ = !curves_->empty();
    }
#endif
  }

  float* x(int axis) { return x_.data() + axis * n_; }
  float* f(int axis) { return f_.data() + axis * n_; }
  float* moves() { return moves_.data(); }

  // Lists of sites within the range and the skin, those of a class side by side. Held sites need none of their own.
  void List() {
#ifdef BAYESCG_BLOCKS
    if (in_blocks_) {
      if (!grouped_) blocks_.Sort(m_.kinds, moves_.data(), n_);
      grouped_ = true;
      sane_ = blocks_.List(x_.data(), m_.box, m_.range);
    } else
#endif
    {
      sane_ = true;
      for (const float x : x_) sane_ &= std::abs(x) < kFar;
    }
    if (!in_blocks_ || m_.strength != nullptr)
      while (!TryList()) room_ *= 2;
    std::copy(x_.begin(), x_.end(), made_.begin());
  }

  void ListIfFar() {
    float far = 0.0f;
    bool sane = true;
    const float *x = x_.data(), *y = x + n_, *z = y + n_;
    const float *a = made_.data(), *b = a + n_, *c = b + n_;
    for (int i = 0; i < n_; ++i) {
      const float dx = x[i] - a[i], dy = y[i] - b[i], dz = z[i] - c[i];
      const float d = dx * dx + dy * dy + dz * dz;
      far = d > far ? d : far;
      sane &= d < std::numeric_limits<float>::max();
    }
    if (!(far < 0.25f * Skin() * Skin()) || !sane) List();
  }

  void Forces() {
    // What blew up must be seen as such, and a distance that is no number is within no list's reach.
    std::fill(f_.begin(), f_.end(), sane_ ? 0.0f : std::numeric_limits<float>::quiet_NaN());
    if (!sane_) return;
#ifdef BAYESCG_BLOCKS
    if (in_blocks_) {
      blocks_.Forces(x_.data(), m_.box, curves_->data(), tables_.data(), m_.silent, f_.data());
      if (m_.strength != nullptr) ThreeBody(true);
      OnlyMoving();
      return;
    }
#endif
    float *fx = f_.data(), *fy = fx + n_, *fz = fy + n_;
    // Class by class: the tables of all together are larger than the first level of cache.
    EachRow([&](int i, int c, const int* list, int size) {
      const float* slope = slope_ + int64_t{c} * m_.nodes;
      Eight sx = {}, sy = {}, sz = {};
      // Whole vectors: the last one is filled up with the site itself, which nothing pulls.
      for (int k = 0; k < size; k += kWidth) {
        Eight dx, dy, dz;
        const EightInts node = __builtin_convertvector(Place(Past(i, list + k, dx, dy, dz)), EightInts);
        const Eight pull = Look(slope, node);
        sx += pull * dx;
        sy += pull * dy;
        sz += pull * dz;
      }
      fx[i] += 2.0f * Sum(sx);
      fy[i] += 2.0f * Sum(sy);
      fz[i] += 2.0f * Sum(sz);
    });
    if (m_.strength != nullptr) {
      ThreeBody(true);
      OnlyMoving();
    }
  }

  // Of all pairs with a site that moves; others do not change.
  double Energy() {
    if (!sane_) return std::numeric_limits<double>::quiet_NaN();
#ifdef BAYESCG_BLOCKS
    if (in_blocks_) {
      const double pairs = blocks_.Energy(x_.data(), m_.box, curves_->data(), tables_.data(), m_.silent);
      return m_.strength == nullptr ? pairs : pairs + ThreeBody(false);
    }
#endif
    const float* moves = moves_.data();
    double total = 0.0;
    EachRow([&](int i, int c, const int* list, int size) {
      const float *value = value_ + int64_t{c} * m_.nodes, *slope = slope_ + int64_t{c} * m_.nodes;
      Eight sum = {};
      for (int k = 0; k < size; k += kWidth) {
        Eight dx, dy, dz;
        const Eight past = Past(i, list + k, dx, dy, dz);
        const EightInts node = __builtin_convertvector(Place(past), EightInts);
        const Eight within = past - __builtin_convertvector(node, Eight) * m_.step;
        const Eight all = Look(value, node) + Look(slope, node) * within;
        // A pair of two sites that move is seen from both.
        const Eight share = 1.0f - 0.5f * Look(moves, *reinterpret_cast<const AnyEightInts*>(list + k));
        const EightInts there = EightInts{0, 1, 2, 3, 4, 5, 6, 7} < size - k;
        sum += there ? all * share : Eight{};
      }
      total += Sum(sum);
    });
    return m_.strength == nullptr ? total : total + ThreeBody(false);
  }

 private:
  float Skin() const {
#ifdef BAYESCG_BLOCKS
    if (in_blocks_) return blocks::kSkin;
#endif
    return m_.skin;
  }

  void OnlyMoving() {
    const float* moves = moves_.data();
    for (int k = 0; k < 3; ++k)
      for (int i = 0; i < n_; ++i) f_[k * n_ + i] *= moves[i];
  }

  void Bring() {
    for (int i = 0; i < n_; ++i) place_[i] = Four{x_[i], x_[n_ + i], x_[2 * n_ + i], 0.0f};
  }

  // The list of every site that moves, class by class.
  template <typename Body>
  void EachRow(const Body& body) {
    Bring();
    for (int c = 0; c < m_.classes; ++c) {
      if (c == m_.silent) continue;
      for (int i = 0; i < n_; ++i) {
        const int64_t row = int64_t{i} * m_.classes + c;
        if (moves_[i] != 0.0f) body(i, c, near_.data() + row * room_, size_[row]);
      }
    }
  }

  // Separations of eight sites from one, and where they are in a table, angstrom^2.
  Eight Past(int i, const int* of, Eight& dx, Eight& dy, Eight& dz) const {
    Coordinates(place_.data(), of, dx, dy, dz);
    dx = Near(dx - place_[i][0], m_.box[0], per_box_[0]);
    dy = Near(dy - place_[i][1], m_.box[1], per_box_[1]);
    dz = Near(dz - place_[i][2], m_.box[2], per_box_[2]);
    return dx * dx + dy * dy + dz * dz - kFirst * kFirst;
  }

  // The same in steps of the table, within it.
  Eight Place(Eight past) const {
    const Eight zero = {}, last = zero + (m_.nodes - 1.0f);
    Eight at = past * (1.0f / m_.step);
    at = at > zero ? at : zero;
    return at < last ? at : last;
  }

  // The term of Stillinger and Weber by moments of each site's neighbours, as bayescg.potentials.three_body has it;
  // adds its forces, or returns its energy.
  double ThreeBody(bool forces) {
    Bring();
    if (forces) pull_.assign(n_, Four{});
    const float c = m_.cosine, c2 = c * c, own = (1.0f - c) * (1.0f - c);
    double total = 0.0;
    for (int i = 0; i < n_; ++i) {
      const int* list = triples_.data() + int64_t{i} * room_;
      const int size = triple_size_[i];
      arms_.resize((size + kWidth - 1) / kWidth);
      Eight m0 = {}, gg = {}, mx = {}, my = {}, mz = {}, xx = {}, yy = {}, zz = {}, yz = {}, xz = {}, xy = {};
      for (int k = 0; k < size; k += kWidth) {
        const Arms a = arms_[k / kWidth] = ArmsOf(i, list + k, size - k);
        const Eight gx = a.g * a.x, gy = a.g * a.y, gz = a.g * a.z;
        m0 += a.g;
        gg += a.g * a.g;
        mx += gx;
        my += gy;
        mz += gz;
        xx += gx * a.x;
        yy += gy * a.y;
        zz += gz * a.z;
        yz += gy * a.z;
        xz += gx * a.z;
        xy += gx * a.y;
      }
      const float n0 = Sum(m0), nx = Sum(mx), ny = Sum(my), nz = Sum(mz);
      const float sxx = Sum(xx), syy = Sum(yy), szz = Sum(zz), syz = Sum(yz), sxz = Sum(xz), sxy = Sum(xy);
      if (!forces) {
        float sum = sxx * sxx + syy * syy + szz * szz + 2.0f * (syz * syz + sxz * sxz + sxy * sxy);
        sum += c2 * n0 * n0 - 2.0f * c * (nx * nx + ny * ny + nz * nz) - own * Sum(gg);
        total += 0.5f * sum;
        continue;
      }
      Eight fx = {}, fy = {}, fz = {};
      for (int k = 0; k < size; k += kWidth) {
        const Arms& a = arms_[k / kWidth];
        const Eight wx = sxx * a.x + sxy * a.y + sxz * a.z - c * nx;
        const Eight wy = sxy * a.x + syy * a.y + syz * a.z - c * ny;
        const Eight wz = sxz * a.x + syz * a.y + szz * a.z - c * nz;
        const Eight uw = a.x * wx + a.y * wy + a.z * wz, um = a.x * nx + a.y * ny + a.z * nz;
        const Eight across = 2.0f * a.g * a.inverse;
        const Eight along = a.slope * (uw - c * um + c2 * n0 - own * a.g) - across * uw;
        const Eight px = strength_ * (along * a.x + across * wx);
        const Eight py = strength_ * (along * a.y + across * wy);
        const Eight pz = strength_ * (along * a.z + across * wz);
        fx += px;
        fy += py;
        fz += pz;
        for (int l = 0; l < std::min(kWidth, size - k); ++l) pull_[list[k + l]] -= Four{px[l], py[l], pz[l], 0.0f};
      }
      pull_[i] += Four{Sum(fx), Sum(fy), Sum(fz), 0.0f};
    }
    if (forces)
      for (int k = 0; k < 3; ++k)
        for (int i = 0; i < n_; ++i) f_[k * n_ + i] += pull_[i][k];
    return strength_ * total;
  }

  // Directions to eight neighbours, inverse distances, weights and their derivatives; weights are nothing out of reach.
  struct Arms {
    Eight x, y, z, inverse, g, slope;
  };
  Arms ArmsOf(int i, const int* of, int size) const {
    Arms a;
    Coordinates(place_.data(), of, a.x, a.y, a.z);
    a.x = Near(a.x - place_[i][0], m_.box[0], per_box_[0]);
    a.y = Near(a.y - place_[i][1], m_.box[1], per_box_[1]);
    a.z = Near(a.z - place_[i][2], m_.box[2], per_box_[2]);
    const Eight zero = {}, s = a.x * a.x + a.y * a.y + a.z * a.z;
    const float end = m_.reach - kEnd;
    const EightInts in = (EightInts{0, 1, 2, 3, 4, 5, 6, 7} < size) & (s < end * end);
    const Eight r = Sqrt(in ? s : zero + 0.25f * end * end), gap = 1.0f / (r - m_.reach);
    a.inverse = 1.0f / r;
    a.x *= a.inverse;
    a.y *= a.inverse;
    a.z *= a.inverse;
    a.g = in ? Exp(m_.decay * gap) : zero;
    a.slope = -m_.decay * a.g * gap * gap;
    return a;
  }

  // False where a row has too little room.
  bool TryList() {
    const int64_t rows = in_blocks_ ? 0 : int64_t{n_} * m_.classes;
    near_.resize(rows * room_);
    size_.assign(rows, 0);
    const bool three_body = m_.strength != nullptr;
    if (three_body) {
      triples_.resize(int64_t{n_} * room_);
      triple_size_.assign(n_, 0);
    }
    const float reach = in_blocks_ ? 0.0f : m_.range + m_.skin, short_reach = three_body ? m_.reach + Skin() : 0.0f;
    const float all = std::max(reach, short_reach) * std::max(reach, short_reach);
    Sort(std::max(reach, short_reach));
    close_.resize(n_);
    for (int a = 0; a < n_; ++a) {
      // Each pair once: later sites of the own cell, and those of half of the cells around it.
      bool fits = true;
      const int cell = cell_[order_[a]];
      fits &= Add(a, a + 1, first_[cell + 1], all, reach * reach, short_reach * short_reach);
      if (cells_[0] > 1)
        for (const int other : Around(cell))
          fits &= Add(a, first_[other], first_[other + 1], all, reach * reach, short_reach * short_reach);
      if (!fits) return false;
    }
    // The site itself fills vectors up.
    for (int64_t row = 0; row < rows; ++row)
      for (int k = size_[row]; k % kWidth; ++k) near_[row * room_ + k] = static_cast<int>(row / m_.classes);
    if (three_body)
      for (int i = 0; i < n_; ++i)
        for (int k = triple_size_[i]; k % kWidth; ++k) triples_[int64_t{i} * room_ + k] = i;
    return true;
  }

  // Sites in the order of their cells, which are no shorter than the reach; one cell where fewer than four fit.
  void Sort(float reach) {
    int least = std::numeric_limits<int>::max();
    for (int k = 0; k < 3; ++k) least = std::min(least, cells_[k] = static_cast<int>(m_.box[k] / reach));
    if (least < 4 || !sane_) cells_[0] = cells_[1] = cells_[2] = 1;
    const int total = cells_[0] * cells_[1] * cells_[2];
    cell_.assign(n_, 0);
    if (total > 1)
      for (int k = 0; k < 3; ++k)
        for (int i = 0; i < n_; ++i) {
          const float part = x_[k * n_ + i] * per_box_[k];
          const int at = static_cast<int>((part - std::floor(part)) * cells_[k]);
          cell_[i] = cell_[i] * cells_[k] + std::min(at, cells_[k] - 1);
        }
    first_.assign(total + 1, 0);
    for (int i = 0; i < n_; ++i) ++first_[cell_[i] + 1];
    for (int c = 0; c < total; ++c) first_[c + 1] += first_[c];
    order_.resize(n_);
    std::vector<int> at(first_.begin(), first_.end() - 1);
    for (int i = 0; i < n_; ++i) order_[at[cell_[i]]++] = i;
    sorted_.resize(3 * n_);
    for (int k = 0; k < 3; ++k)
      for (int a = 0; a < n_; ++a) sorted_[k * n_ + a] = x_[k * n_ + order_[a]];
  }

  // Half of the cells around one: of each two that lie opposite, one.
  std::vector<int> Around(int cell) const {
    const int z = cell % cells_[2], y = cell / cells_[2] % cells_[1], x = cell / cells_[2] / cells_[1];
    std::vector<int> out;
    for (int s = 14; s < 27; ++s) {
      const int dx = s / 9 - 1, dy = s / 3 % 3 - 1, dz = s % 3 - 1;
      out.push_back(((x + dx + cells_[0]) % cells_[0] * cells_[1] + (y + dy + cells_[1]) % cells_[1]) * cells_[2] +
                    (z + dz + cells_[2]) % cells_[2]);
    }
    return out;
  }

  // Pairs of the sorted site ``a`` with those from ``from`` to ``to``, entered with both; false where a row is full.
  bool Add(int a, int from, int to, float all, float reach, float short_reach) {
    const float *x = sorted_.data(), *y = x + n_, *z = y + n_;
    const float bx = m_.box[0], by = m_.box[1], bz = m_.box[2];
    const float ix = per_box_[0], iy = per_box_[1], iz = per_box_[2];
    const float xa = x[a], ya = y[a], za = z[a];
    float* s = s_.data();
    for (int b = from; b < to; ++b) {
      float dx = x[b] - xa, dy = y[b] - ya, dz = z[b] - za;
      dx -= bx * std::rint(dx * ix);
      dy -= by * std::rint(dy * iy);
      dz -= bz * std::rint(dz * iz);
      s[b] = dx * dx + dy * dy + dz * dz;
    }
    int* close = close_.data();
    int count = 0;
    for (int b = from; b < to; ++b) {
      close[count] = b;
      count += s[b] < all;
    }
    const int i = order_[a];
    const int32_t* of = m_.of_pair == nullptr ? nullptr : m_.of_pair + int64_t{i} * n_;
    for (int k = 0; k < count; ++k) {
      const int j = order_[close[k]];
      if (s[close[k]] < short_reach) {
        if (triple_size_[i] == room_ || triple_size_[j] == room_) return false;
        triples_[int64_t{i} * room_ + triple_size_[i]++] = j;
        triples_[int64_t{j} * room_ + triple_size_[j]++] = i;
      }
      const int c = of == nullptr ? 0 : of[j];
      if (c == m_.silent || !(s[close[k]] < reach)) continue;
      const int64_t mine = int64_t{i} * m_.classes + c, theirs = int64_t{j} * m_.classes + c;
      if (moves_[i] != 0.0f) {
        if (size_[mine] == room_) return false;
        near_[mine * room_ + size_[mine]++] = j;
      }
      if (moves_[j] != 0.0f) {
        if (size_[theirs] == room_) return false;
        near_[theirs * room_ + size_[theirs]++] = i;
      }
    }
    return true;
  }

  const Model& m_;
  const int chain_, n_;
  std::vector<float> x_, f_, made_, s_, moves_;
  std::vector<Four> place_;
  std::vector<float> own_value_, own_slope_;
  const float *value_, *slope_;
  float per_box_[3];
  float strength_ = 0.0f;
  int room_ = 64;  // of a row of a list, whole vectors
  int cells_[3];
  std::vector<float> sorted_;
  std::vector<int> near_, size_, triples_, triple_size_, close_, cell_, first_, order_;
  std::vector<Arms> arms_;
  std::vector<Four> pull_;
  bool sane_ = true;
  bool in_blocks_ = false;
#ifdef BAYESCG_BLOCKS
  bool grouped_ = false;
  blocks::Blocks blocks_;
  std::vector<blocks::Table> tables_;
  std::vector<blocks::Curve> own_curves_;
  const std::vector<blocks::Curve>* curves_ = nullptr;
#endif
};

// Two normal numbers of two random words (Box and Muller), with polynomials where libraries have calls: the logarithm of
// a number in (0, 1], and the cosine and sine of a turn's part, good to a few roundings.
inline void TwoNormals(uint32_t word, uint32_t other, float& a, float& b) {
  constexpr float unit = 1.0f / 16777216.0f;
  const float u = static_cast<float>(static_cast<int32_t>(word >> 8) + 1) * unit;
  int32_t bits;
  __builtin_memcpy(&bits, &u, sizeof bits);
  // u = m 2^e with m from 0.75 to 1.5.
  const int32_t e = (bits - 0x3F400000) >> 23;
  bits -= e * 0x800000;
  float m;
  __builtin_memcpy(&m, &bits, sizeof m);
  // log m = 2 artanh((m - 1) / (m + 1)).
  const float w = (m - 1.0f) / (m + 1.0f), w2 = w * w;
  const float log_m = 2.0f * w * (1.0f + w2 * (1.0f / 3 + w2 * (1.0f / 5 + w2 * (1.0f / 7 + w2 * (1.0f / 9)))));
  const float minus = -2.0f * (log_m + 0.693147181f * e);
  const float r = std::sqrt(minus > 0.0f ? minus : 0.0f);
  // Of a turn, the quarter and what is past its middle.
  const int32_t t = static_cast<int32_t>(other >> 8), quarter = (t + 0x200000) >> 22;
  const float x = 6.2831853071795864f * unit * static_cast<float>(t - (quarter << 22)), x2 = x * x;
  const float sine = x * (1.0f + x2 * (-1.0f / 6 + x2 * (1.0f / 120 + x2 * (-1.0f / 5040 + x2 * (1.0f / 362880)))));
  const float cosine = 1.0f + x2 * (-0.5f + x2 * (1.0f / 24 + x2 * (-1.0f / 720 + x2 * (1.0f / 40320))));
  const bool odd = quarter & 1;
  const float c = odd ? sine : cosine, s = odd ? cosine : sine;
  a = (quarter + 1) & 2 ? -r * c : r * c;
  b = quarter & 2 ? -r * s : r * s;
}

// Normal random numbers, four of each call of Philox4x32-10; sixteen calls at a time, in loops that become vectors.
void Normals(uint32_t key0, uint32_t key1, uint32_t chain, uint32_t step, float* out, int count) {
  constexpr int kCalls = 16;
  for (int first = 0; first < count; first += 4 * kCalls) {
    uint32_t c0[kCalls], c1[kCalls], c2[kCalls], c3[kCalls], k0 = key0, k1 = key1;
    for (int l = 0; l < kCalls; ++l) {
      c0[l] = first / 4 + l;
      c1[l] = step;
      c2[l] = chain;
      c3[l] = 0;
    }
    for (int round = 0; round < 10; ++round) {
      for (int l = 0; l < kCalls; ++l) {
        const uint64_t p = uint64_t{0xD2511F53u} * c0[l], q = uint64_t{0xCD9E8D57u} * c2[l];
        const uint32_t a = static_cast<uint32_t>(q >> 32) ^ c1[l] ^ k0, d = static_cast<uint32_t>(p >> 32) ^ c3[l] ^ k1;
        c1[l] = static_cast<uint32_t>(q);
        c3[l] = static_cast<uint32_t>(p);
        c0[l] = a;
        c2[l] = d;
      }
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    float some[4 * kCalls];
    for (int l = 0; l < kCalls; ++l) {
      TwoNormals(c0[l], c2[l], some[l], some[kCalls + l]);
      TwoNormals(c1[l], c3[l], some[2 * kCalls + l], some[3 * kCalls + l]);
    }
    std::copy(some, some + std::min(4 * kCalls, count - first), out + first);
  }
}

Model ModelOf(Floats x, Floats value, Floats slope, Floats step, Floats box, Ints of_pair, Floats strength,
              int64_t classes, int64_t silent, float range, float skin, float cosine, float decay, float reach) {
  Model m;
  m.sites = static_cast<int>(x.dimensions()[1]);
  m.chains = static_cast<int>(x.dimensions()[2]);
  m.classes = static_cast<int>(classes);
  m.silent = static_cast<int>(silent);
  m.nodes = static_cast<int>(value.dimensions()[0] / classes);
  m.own_tables = value.dimensions().size() == 2;
  m.value = value.typed_data();
  m.slope = slope.typed_data();
  m.step = step.typed_data()[0];
  for (int k = 0; k < 3; ++k) m.box[k] = box.typed_data()[k];
  m.range = range;
  m.skin = skin;
  m.of_pair = of_pair.element_count() ? of_pair.typed_data() : nullptr;
  m.strength = strength.element_count() ? strength.typed_data() : nullptr;
  m.own_strength = strength.element_count() > 1;
  m.cosine = cosine;
  m.decay = decay;
  m.reach = reach;
#ifdef BAYESCG_BLOCKS
  if (m.sites >= kFewest && m.kinds.Find(m.of_pair, m.sites) && !m.own_tables) {
    m.curves = CurvesOf(m, TablesOf(m, m.value, m.slope));
    m.kinds.known = !m.curves.empty();
  }
#endif
  return m;
}

// What holds latents to the data: a spring of every site, or nothing.
struct Springs {
  std::vector<float> centre;
  float stiffness = 0.0f;   // of all, or
  std::vector<float> each;  // of every coordinate

  double Pull(Configuration& one, int n) const {
    double energy = 0.0;
    if (centre.empty()) return energy;
    float *x = one.x(0), *f = one.f(0);
    if (!each.empty()) {
      for (int i = 0; i < 3 * n; ++i) {
        const float gap = centre[i] - x[i], pull = each[i] * gap;
        f[i] += pull;
        energy += pull * gap;
      }
      return 0.5 * energy;
    }
    for (int i = 0; i < 3 * n; ++i) {
      const float gap = centre[i] - x[i];
      f[i] += stiffness * gap;
      energy += gap * gap;
    }
    return 0.5 * stiffness * energy;
  }
};

double Kinetic(const std::vector<float>& v) {
  double total = 0.0;
  for (const float w : v) total += w * w;
  return 0.5 * total;
}

Springs SpringsOf(Floats centre, Floats stiffness, const Model& m, int chain) {
  Springs springs;
  if (!centre.element_count()) return springs;
  springs.centre.resize(3 * m.sites);
  Take(centre.typed_data(), m.chains, chain, springs.centre.data(), 3 * m.sites);
  if (stiffness.dimensions().size() == 1) {
    springs.stiffness = stiffness.typed_data()[chain];
  } else {
    springs.each.resize(3 * m.sites);
    Take(stiffness.typed_data(), m.chains, chain, springs.each.data(), 3 * m.sites);
  }
  return springs;
}

ffi::Error ForcesImpl(ffi::ThreadPool pool, Floats x, Floats value, Floats slope, Floats step, Floats box, Ints of_pair,
                      Floats strength, Floats moves, Floats centre, Floats stiffness, OutFloats f, OutFloats e, int64_t classes,
                      int64_t silent, float range, float skin, float cosine, float decay, float reach) {
  const Model m = 
      ModelOf(x, value, slope, step, box, of_pair, strength, classes, silent, range, skin, cosine, decay, reach);
  Parallel(pool, m.chains, [&](int64_t chain) {
    Configuration one(m, chain);
    Take(x.typed_data(), m.chains, chain, one.x(0), 3 * m.sites);
    if (moves.element_count()) Take(moves.typed_data(), m.chains, chain, one.moves(), m.sites);
    one.List();
    one.Forces();
    double energy = one.Energy();
    energy += SpringsOf(centre, stiffness, m, chain).Pull(one, m.sites);
    Put(one.f(0), f->typed_data(), m.chains, chain, 3 * m.sites);
    e->typed_data()[chain] = static_cast<float>(energy);
  });
  return ffi::Error::Success();
}

ffi::Error TrajectoryImpl(ffi::ThreadPool pool, Floats x, Floats value, Floats slope, Floats step, Floats box,
                          Ints of_pair, Floats strength, Floats moves, Floats centre, Floats stiffness, Floats v,
                          Floats h, Floats kept, Keys key, OutFloats x_end, OutFloats v_end, OutFloats gain,
                          OutFloats squares, int64_t classes, int64_t silent, float range, float skin, float cosine,
                          float decay, float reach, int64_t steps, bool langevin) {
  const Model m =
      ModelOf(x, value, slope, step, box, of_pair, strength, classes, silent, range, skin, cosine, decay, reach);
  const int n = m.sites;
  const uint32_t key0 = key.typed_data()[0], key1 = key.typed_data()[1], first = key.typed_data()[2];
  Parallel(pool, m.chains, [&](int64_t chain) {
    Configuration one(m, chain);
    std::vector<float> speed(3 * n), noise(3 * n + 4);
    Take(x.typed_data(), m.chains, chain, one.x(0), 3 * n);
    Take(v.typed_data(), m.chains, chain, speed.data(), 3 * n);
    if (moves.element_count()) Take(moves.typed_data(), m.chains, chain, one.moves(), n);
    const Springs springs = SpringsOf(centre, stiffness, m, chain);
    const float dt = h.typed_data()[chain], half = 0.5f * dt, keep = kept.typed_data()[chain];
    const float kick = std::sqrt(1.0f - keep * keep);
    one.List();
    one.Forces();
    double work = -one.Energy() - springs.Pull(one, n) - Kinetic(speed), before = 0.0;
    for (int i = 0; i < 3 * n; ++i) before += one.f(0)[i] * one.f(0)[i];
    for (int64_t t = 0; t < steps; ++t) {
      if (langevin) Normals(key0, key1, first + chain, t, noise.data(), 3 * n);
      float gained = 0.0f;
      for (int axis = 0; axis < 3; ++axis) {
        float *p = one.x(axis), *g = one.f(axis), *w = speed.data() + axis * n, *z = noise.data() + axis * n;
        const float* free = one.moves();
        if (langevin) {
          for (int i = 0; i < n; ++i) {
            const float old = w[i] + half * g[i];
            const float now = keep * old + kick * z[i] * free[i];
            gained += now * now - old * old;
            p[i] += half * (old + now);
            w[i] = now;
          }
        } else {
          for (int i = 0; i < n; ++i) {
            w[i] += half * g[i];
            p[i] += dt * w[i];
          }
        }
      }
      work -= 0.5 * gained;
      one.ListIfFar();
      one.Forces();
      springs.Pull(one, n);
      float *w = speed.data(), *g = one.f(0);
      for (int i = 0; i < 3 * n; ++i) w[i] += half * g[i];
    }
    work += one.Energy() + springs.Pull(one, n) + Kinetic(speed);
    Put(one.x(0), x_end->typed_data(), m.chains, chain, 3 * n);
    Put(speed.data(), v_end->typed_data(), m.chains, chain, 3 * n);
    gain->typed_data()[chain] = static_cast<float>(work);
    squares->typed_data()[chain] = static_cast<float>(before);
  });
  return ffi::Error::Success();
}

}  // namespace

#define BAYESCG_MODEL(binding)                                                                            \
  binding.Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>() \
      .Arg<Ints>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()
#define BAYESCG_ATTRIBUTES(binding) \
  binding.Attr<int64_t>("classes").Attr<int64_t>("silent").Attr<float>("range").Attr<float>("skin") \
      .Attr<float>("cosine").Attr<float>("decay").Attr<float>("reach")

XLA_FFI_DEFINE_HANDLER_SYMBOL(BayescgForces, ForcesImpl,
                              BAYESCG_ATTRIBUTES(BAYESCG_MODEL(ffi::Ffi::Bind()).Ret<Floats>().Ret<Floats>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(BayescgTrajectory, TrajectoryImpl,
                              BAYESCG_ATTRIBUTES(BAYESCG_MODEL(ffi::Ffi::Bind())
                                                     .Arg<Floats>()
                                                     .Arg<Floats>()
                                                     .Arg<Floats>()
                                                     .Arg<Keys>()
                                                     .Ret<Floats>()
                                                     .Ret<Floats>()
                                                     .Ret<Floats>()
                                                     .Ret<Floats>())
                                  .Attr<int64_t>("steps")
                                  .Attr<bool>("langevin"));
