// What all kernels over batches of configurations need: a loop over the batch, and a configuration's numbers.

#ifndef BAYESCG_BATCH_H_
#define BAYESCG_BATCH_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// Runs body(0) .. body(count - 1) on the caller and on idle threads of the pool. The caller waits for tasks that have
// begun, never for one that is only queued: a pool whose threads all wait cannot stand still.
template <typename Body>
void Parallel(ffi::ThreadPool& pool, int64_t count, const Body& body) {
  struct Shared {
    std::atomic<int64_t> next{0};
    std::mutex lock;
    std::condition_variable idle;
    int64_t done = 0;
  };
  auto shared = std::make_shared<Shared>();
  auto work = [shared, count, &body] {
    for (;;) {
      const int64_t at = shared->next.fetch_add(1);
      if (at >= count) return;
      body(at);
      std::lock_guard<std::mutex> guard(shared->lock);
      if (++shared->done == count) shared->idle.notify_all();
    }
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([work] { work(); });
  work();
  std::unique_lock<std::mutex> guard(shared->lock);
  shared->idle.wait(guard, [&] { return shared->done == count; });
}

// Entries of a chain, which lie ``chains`` apart in memory.
template <typename T>
void Take(const T* from, int64_t chains, int64_t chain, T* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i * chains + chain];
}
template <typename T>
void Put(const T* from, T* to, int64_t chains, int64_t chain, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i * chains + chain] = from[i];
}

#endif  // BAYESCG_BATCH_H_
