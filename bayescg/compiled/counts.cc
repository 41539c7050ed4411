// Pairs of many configurations counted by distance, for XLA on the CPU: bayescg.potentials.counting in one pass.

#include <cmath>
#include <limits>
#include <vector>

#include "batch.h"

using Doubles = ffi::Buffer<ffi::F64>;
using Ints = ffi::Buffer<ffi::S32>;

namespace {

enum Order : int64_t { kNearest = 0, kLinear = 1, kCubic = 2 };

// Weights of a place, in steps from the first node, on ``Width(order)`` nodes from the one returned; kNowhere: none.
constexpr int kNowhere = -1;

int Weigh(double place, int64_t order, bool dropped, int count, double* weights) {
  if (order == kNearest) {
    const double at = std::floor(place + 0.5);
    weights[0] = 1.0;
    if (dropped && (at < 0 || at >= count)) return kNowhere;
    return static_cast<int>(std::min(std::max(at, 0.0), count - 1.0));
  }
  if (order == kLinear) {
    const double left = std::min(std::max(std::floor(place), 0.0), count - 2.0);
    const double t = std::min(std::max(place - left, 0.0), 1.0);
    weights[0] = 1.0 - t;
    weights[1] = t;
    return static_cast<int>(left);
  }
  place = std::min(std::max(place, 0.0), count - 3.0);
  const double left = std::min(std::max(std::floor(place), 1.0), count - 3.0), t = place - left;
  weights[0] = -t * (t - 1.0) * (t - 2.0) / 6.0;
  weights[1] = (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0;
  weights[2] = -(t + 1.0) * t * (t - 2.0) / 2.0;
  weights[3] = (t + 1.0) * t * (t - 1.0) / 6.0;
  return static_cast<int>(left) - 1;
}

int Width(int64_t order) { return order == kNearest ? 1 : order == kLinear ? 2 : 4; }

ffi::Error CountsImpl(ffi::ThreadPool pool, Doubles x, Doubles box, Ints of_pair, ffi::ResultBuffer<ffi::F64> counts,
                      int64_t classes, int64_t nodes, double first, double step, int64_t order, bool dropped) {
  const int n = static_cast<int>(x.dimensions()[1]), batch = static_cast<int>(x.dimensions()[2]);
  const int32_t* of = of_pair.element_count() ? of_pair.typed_data() : nullptr;
  const double* edge = box.typed_data();
  const int width = Width(order);
  // From here on every distance counts alike: wholly on the last node, or not at all.
  const double last = first + (nodes + 1.0) * step;
  double far_weights[4];
  const int far = Weigh(nodes + 2.0, order, dropped, static_cast<int>(nodes), far_weights);
  Parallel(pool, batch, [&](int64_t chain) {
    std::vector<double> at(3 * n), s(n), sums(classes * nodes, 0.0), beyond(classes, 0.0);
    Take(x.typed_data(), batch, chain, at.data(), 3 * n);
    const double *px = at.data(), *py = px + n, *pz = py + n;
    bool sane = true;
    for (int i = 0; i < 3 * n; ++i) sane &= std::isfinite(at[i]);
    for (int i = 0; sane && i < n; ++i) {
      for (int j = i + 1; j < n; ++j) {
        double dx = px[j] - px[i], dy = py[j] - py[i], dz = pz[j] - pz[i];
        dx -= edge[0] * std::rint(dx / edge[0]);
        dy -= edge[1] * std::rint(dy / edge[1]);
        dz -= edge[2] * std::rint(dz / edge[2]);
        s[j] = dx * dx + dy * dy + dz * dz;
      }
      for (int j = i + 1; j < n; ++j) {
        const int c = of == nullptr ? 0 : of[int64_t{i} * n + j];
        if (c >= classes) continue;
        if (s[j] > last * last) {
          beyond[c] += 1.0;
          continue;
        }
        double weights[4];
        const int node = Weigh((std::sqrt(s[j]) - first) / step, order, dropped, static_cast<int>(nodes), weights);
        if (node == kNowhere) continue;
        double* sum = sums.data() + c * nodes + node;
        for (int k = 0; k < width; ++k) sum[k] += weights[k];
      }
    }
    if (far != kNowhere)
      for (int64_t c = 0; c < classes; ++c)
        for (int k = 0; k < width; ++k) sums[c * nodes + far + k] += beyond[c] * far_weights[k];
    if (!sane) std::fill(sums.begin(), sums.end(), std::numeric_limits<double>::quiet_NaN());
    Put(sums.data(), counts->typed_data(), batch, chain, classes * nodes);
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(BayescgCounts, CountsImpl,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Doubles>()
                                  .Arg<Doubles>()
                                  .Arg<Ints>()
                                  .Ret<Doubles>()
                                  .Attr<int64_t>("classes")
                                  .Attr<int64_t>("nodes")
                                  .Attr<double>("first")
                                  .Attr<double>("step")
                                  .Attr<int64_t>("order")
                                  .Attr<bool>("dropped"));
