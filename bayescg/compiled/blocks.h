// Sites in blocks that lie close together in memory and in space, and which blocks each of them reaches.
//
// A site visits whole blocks, as many sites at a time as the processor's vectors have numbers, and what a pair does to
// one site it does to the other (Pall and Hess, Comput. Phys. Commun. 184, 2641 (2013), have clusters on both
// sides). Blocks are the leaves of a tree of boxes, so that those within reach are found in a time that grows as the
// number of sites does. (-DBAYESCG_LISTS leaves all this out,
// -DBAYESCG_EIGHT visits by vectors of eight, and -DBAYESCG_SIXTEEN by those of sixteen.)

#ifndef BAYESCG_BLOCKS_H_
#define BAYESCG_BLOCKS_H_

#ifndef BAYESCG_LISTS
#define BAYESCG_BLOCKS 1

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "vectors.h"
#include "visits.h"
#if defined(BAYESCG_SIXTEEN) || \
    (defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && !defined(BAYESCG_EIGHT))
#include "visits_wide.h"
#else
#include "visits_eight.h"
#endif

namespace blocks {

constexpr float kSkin = 1.0f;  // angstrom

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
        group_.push_back({kind, held == 1, std::move(sites), 0, blocks, {}});
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
    for (int axis = 0; axis < 3; ++axis)
      for (auto* a : {&middle_[axis], &half_[axis]}) a->assign(blocks + vectors::kWidth, 0.0f);
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
      g.tree.resize(2 * g.blocks - 1);
      Split(spots_.data(), size, g.first, g.blocks, g.tree.data());
      for (int b = 0; b < g.blocks; ++b) {
        const int block = g.first + b, from = b * kLanes, count = std::min(kLanes, size - from);
        lanes_[block] = static_cast<uint16_t>((1u << count) - 1u);
        for (int k = 0; k < kLanes; ++k) order_[block * kLanes + k] = spots_[from + std::min(k, count - 1)].site;
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
      if (p.of != silent) Visit<false>(Seen(), RowsOf(p), box, curves[p.of], tables[p.of]);
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
      if (p.of != silent) total += Visit<true>(Seen(), RowsOf(p), box, curves[p.of], tables[p.of]);
    return total;
  }

 private:
  struct Box {
    float middle[3], half[3];
  };
  struct Group {
    int kind;
    bool held;
    std::vector<int> sites;
    int first, blocks;
    // Of all blocks, and of their halves, again and again: a box's first half is the next one, and its second follows all
    // that the first is made of.
    std::vector<Box> tree;
  };
  struct Pair {
    int a, b, of;
    std::vector<int> start, near;  // of each site of a the blocks of b that it visits, as Rows have them
  };
  struct Spot {
    float at[3];
    int site;
  };

  // Sites so that those of a block are neighbours: halves of the blocks along the longest edge, and so on.
  void Split(Spot* spots, int size, int first, int blocks, Box* box) {
    float low[3], high[3];
    for (int axis = 0; axis < 3; ++axis) low[axis] = high[axis] = spots[0].at[axis];
    for (int k = 1; k < size; ++k)
      for (int axis = 0; axis < 3; ++axis) {
        low[axis] = std::min(low[axis], spots[k].at[axis]);
        high[axis] = std::max(high[axis], spots[k].at[axis]);
      }
    for (int axis = 0; axis < 3; ++axis) {
      box->middle[axis] = 0.5f * (low[axis] + high[axis]);
      box->half[axis] = 0.5f * (high[axis] - low[axis]);
    }
    if (blocks == 1) {
      for (int axis = 0; axis < 3; ++axis) {
        middle_[axis][first] = box->middle[axis];
        half_[axis][first] = box->half[axis];
      }
      return;
    }
    int axis = 0;
    for (int k = 1; k < 3; ++k)
      if (box->half[k] > box->half[axis]) axis = k;
    const int half = blocks / 2, at = half * kLanes;
    std::nth_element(spots, spots + at, spots + size, [axis](const Spot& a, const Spot& b) { return a.at[axis] < b.at[axis]; });
    Split(spots, at, first, half, box + 1);
    Split(spots + at, size - at, first + half, blocks - half, box + 2 * half);
  }

  void Bring(const float* x) {
    for (int slot = 0; slot < kLanes * total_; ++slot) {
      const int i = order_[slot];
      x_[slot] = x[i];
      y_[slot] = x[n_ + i];
      z_[slot] = x[2 * n_ + i];
    }
  }

  View Seen() { return {x_.data(), y_.data(), z_.data(), fx_.data(), fy_.data(), fz_.data(), lanes_.data()}; }

  Rows RowsOf(const Pair& p) const {
    const Group& a = group_[p.a];
    return {a.first * kLanes, static_cast<int>(a.sites.size()), p.a == p.b, p.start.data(), p.near.data()};
  }

  // The blocks that each site of a group visits. Of two blocks of one group the earlier one's sites visit the later.
  void Reach(Pair& p, const float* box, float reach2) {
    const Group &a = group_[p.a], &b = group_[p.b];
    const int size = static_cast<int>(a.sites.size());
    const float per_box[3] = {1.0f / box[0], 1.0f / box[1], 1.0f / box[2]};
    p.start.resize(size + 1);
    p.near.clear();
    for (int k = 0; k < size; ++k) {
      if (k % kLanes == 0) {
        const int block = a.first + k / kLanes;
        Box own;
        for (int axis = 0; axis < 3; ++axis) {
          own.middle[axis] = middle_[axis][block];
          own.half[axis] = half_[axis][block];
        }
        around_.clear();
        Find(b.tree.data(), b.first, b.blocks, own, p.a == p.b ? block : 0, box, per_box, reach2);
      }
      const int at = p.start[k] = static_cast<int>(p.near.size()), count = static_cast<int>(around_.size());
      p.near.resize(at + count);
      // Half of all blocks are those of which a site reaches the box alone.
      p.near.resize(at + Touched(Seen(), a.first * kLanes + k, around_.data(), count, box, reach2, p.near.data() + at));
    }
    p.start[size] = static_cast<int>(p.near.size());
  }

  // Into ``around_``: of the blocks from ``first`` on, whose box is ``all``, those from ``least`` on whose boxes are within
  // reach of another.
  void Find(const Box* all, int first, int blocks, const Box& own, int least, const float* box, const float* per_box,
            float reach2) {
    if (first + blocks <= least) return;
    if (blocks <= vectors::kWidth) {
      vectors::Eight s = {};
      for (int axis = 0; axis < 3; ++axis) {
        const vectors::Eight d = vectors::Load(&middle_[axis][first]) - own.middle[axis];
        s += Squared(vectors::Near(d, box[axis], per_box[axis]), vectors::Load(&half_[axis][first]) + own.half[axis]);
      }
      for (int k = std::max(least - first, 0); k < blocks; ++k)
        if (s[k] < reach2) around_.push_back(first + k);
      return;
    }
    float s = 0.0f;
    for (int axis = 0; axis < 3; ++axis) {
      const float d = all->middle[axis] - own.middle[axis];
      const float gap = std::abs(d - box[axis] * std::rint(d * per_box[axis])) - all->half[axis] - own.half[axis];
      if (gap > 0.0f) s += gap * gap;
    }
    if (!(s < reach2)) return;
    const int half = blocks / 2;
    Find(all + 1, first, half, own, least, box, per_box, reach2);
    Find(all + 2 * half, first + half, blocks - half, own, least, box, per_box, reach2);
  }

  // Of the gaps between boxes whose middles are ``d`` apart.
  static vectors::Eight Squared(vectors::Eight d, vectors::Eight halves) {
    d = d > 0.0f ? d : -d;
    d = d > halves ? d - halves : vectors::Eight{};
    return d * d;
  }

  int n_ = 0, total_ = 0;
  std::vector<Group> group_;
  std::vector<Pair> pairs_;
  std::vector<Spot> spots_;
  std::vector<float> x_, y_, z_, fx_, fy_, fz_;
  std::vector<float> middle_[3], half_[3];  // of each block's box; whole vectors of them are read
  std::vector<int> order_, around_;
  std::vector<uint16_t> lanes_;
};

}  // namespace blocks
#endif  // BAYESCG_LISTS
#endif  // BAYESCG_BLOCKS_H_
