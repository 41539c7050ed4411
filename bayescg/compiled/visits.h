// What visits of sites to blocks are given, however wide the processor's vectors are.

#ifndef BAYESCG_VISITS_H_
#define BAYESCG_VISITS_H_

#include <algorithm>
#include <cstdint>

namespace blocks {

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

// Coordinates and forces of sites in blocks, and which lanes of each block hold sites.
struct View {
  const float *x, *y, *z;
  float *fx, *fy, *fz;
  const uint16_t* lanes;
};

// Sites from ``first`` on that lie side by side, and of each the blocks that it visits: near[start[k]] to
// near[start[k + 1]]. Among sites of one group each visits its own block, for those after it, and later ones.
struct Rows {
  int first, count;
  bool one_group;
  const int *start, *near;
};

}  // namespace blocks
#endif  // BAYESCG_VISITS_H_
