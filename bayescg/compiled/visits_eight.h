// Visits by vectors of eight numbers, on any processor.
//
// Forces are steps of the table in memory: a look-up is eight loads, and what decides is that sites of a block lie side
// by side, so that nothing else is gathered.

#ifndef BAYESCG_VISITS_EIGHT_H_
#define BAYESCG_VISITS_EIGHT_H_

#include <cstdint>

#include "vectors.h"
#include "visits.h"

namespace blocks {

using namespace vectors;

constexpr int kLanes = kWidth;

// What a visit needs beside the table: nothing.
struct Curve {
  bool Fit(const Table&, float) { return true; }
};

// From one site to those of a block.
struct Separations {
  Eight x, y, z, s;

  Separations(const View& of, int first, float x0, float y0, float z0, const float* box, const float* per_box)
      : x(Near(Load(of.x + first) - x0, box[0], per_box[0])),
        y(Near(Load(of.y + first) - y0, box[1], per_box[1])),
        z(Near(Load(of.z + first) - z0, box[2], per_box[2])),
        s(x * x + y * y + z * z) {}
};

// Of some blocks those that hold a site within reach of the one in ``slot``; into ``out``, and how many.
inline int Touched(const View& of, int slot, const int* blocks, int count, const float* box, float reach2, int* out) {
  const float per_box[3] = {1.0f / box[0], 1.0f / box[1], 1.0f / box[2]};
  const float x = of.x[slot], y = of.y[slot], z = of.z[slot];
  int found = 0;
  for (int k = 0; k < count; ++k) {
    out[found] = blocks[k];
    found += Any(Separations(of, blocks[k] * kLanes, x, y, z, box, per_box).s < reach2);
  }
  return found;
}

// All ones where a bit of ``lanes`` is set.
inline EightInts Mask(int lanes) {
  const EightInts bits = {1, 2, 4, 8, 16, 32, 64, 128};
  return (bits & lanes) != 0;
}

// Forces of both sites of every pair, or the pairs' energy.
template <bool kEnergy>
double Visit(const View& view, const Rows& rows, const float* box, const Curve&, const Table& table) {
  const View of = view;  // locals: what is stored might else be any of what they point at
  const int *start = rows.start, *near = rows.near;
  const float edges[3] = {box[0], box[1], box[2]}, per_box[3] = {1.0f / box[0], 1.0f / box[1], 1.0f / box[2]};
  const float first = table.first, step = table.step, per_step = 1.0f / step, last = table.nodes - 1.0f;
  const float *value = table.value, *slope = table.slope;
  const Eight zero = {};
  double total = 0.0;
  for (int k = 0; k < rows.count; ++k) {
    const int slot = rows.first + k, own = rows.one_group ? slot / kLanes : -1;
    const float x = of.x[slot], y = of.y[slot], z = of.z[slot];
    Eight sx = zero, sy = zero, sz = zero;
    for (int at = start[k], stop = start[k + 1]; at < stop; ++at) {
      const int block = near[at], to = block * kLanes;
      const Separations d(of, to, x, y, z, edges, per_box);
      const Eight past = d.s - first;
      Eight place = past * per_step;
      place = place > zero ? place : zero;
      // What lies beyond the range feels nothing: the table's last step is level, at zero.
      place = place < last ? place : zero + last;
      const EightInts node = __builtin_convertvector(place, EightInts);
      Eight v = Look(slope, node);
      if (kEnergy) v = Look(value, node) + v * (past - __builtin_convertvector(node, Eight) * step);
      int in = of.lanes[block];
      if (block == own) in &= 0xFE << slot % kLanes;
      if (in != (1 << kLanes) - 1) v = Mask(in) ? v : zero;
      if (kEnergy) {
        sx += v;
        continue;
      }
      const Eight px = v * d.x, py = v * d.y, pz = v * d.z;
      sx += px;
      sy += py;
      sz += pz;
      Store(of.fx + to, Load(of.fx + to) - px);
      Store(of.fy + to, Load(of.fy + to) - py);
      Store(of.fz + to, Load(of.fz + to) - pz);
    }
    if (kEnergy) {
      total += Sum(sx);
    } else {
      of.fx[slot] += Sum(sx);
      of.fy[slot] += Sum(sy);
      of.fz[slot] += Sum(sz);
    }
  }
  return total;
}

}  // namespace blocks
#endif  // BAYESCG_VISITS_EIGHT_H_
