#include "layer.hpp"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <utility>

#include "threads.hpp"

namespace fusedlstm {

namespace {

// A call's memory is kept for the thread's next call, if it is no more than this: steps need no allocation, and sequences
// no new pages.
constexpr std::size_t kept_bytes = std::size_t{8} << 20;
thread_local Buffer kept;

Buffer take(std::size_t bytes) {
  if (kept.bytes() >= bytes) return std::exchange(kept, Buffer());
  return Buffer(bytes);
}

}  // namespace

Pass::~Pass() {
  if (!lasting_ && memory_.bytes() <= kept_bytes && memory_.bytes() > kept.bytes()) kept = std::move(memory_);
}

void Pass::take_memory() {
  Cursor count;
  lay_out(count);
  memory_ = lasting_ ? Buffer(count.used()) : take(count.used());
  Cursor deal(memory_.floats());
  lay_out(deal);
}

bool Load::worth_sharing() const { return total >= worth_a_team && (step >= worth_meeting || directions > 1); }

bool Layer::run(const Call& call, std::size_t threads) const {
  const Load work = load(call);
  Crew crew(work.worth_sharing() ? threads == 0 ? num_threads() : threads : 1, work.total);

  // Many rows: each thread takes its share of them, and they never meet. As many threads as directions do better with one
  // direction each.
  const std::size_t most = crew.most();
  const bool split = work.full_rows > 0 && call.batch >= work.full_rows * most && most != work.directions && !crew.alone();
  std::vector<std::size_t> rows(call.batch);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  if (call.lengths != nullptr)  // longest first
    std::stable_sort(rows.begin(), rows.end(),
                     [&](std::size_t a, std::size_t b) { return call.lengths[a] > call.lengths[b]; });
  if (!split) {
    const std::unique_ptr<Pass> all = pass(call, std::move(rows), most);
    all->start();
    all->run(crew);
    if (crew.stopped()) return false;
    all->finish();
    return true;
  }
  std::vector<std::vector<std::size_t>> shares(most);  // dealt out in turn, so that lengths are shared fairly
  for (std::size_t i = 0; i < rows.size(); ++i) shares[i % shares.size()].push_back(rows[i]);
  std::vector<std::unique_ptr<Pass>> passes;
  for (std::vector<std::size_t>& share : shares) passes.push_back(pass(call, std::move(share), 1));
  std::atomic<std::size_t> begun{0};
  crew.side_by_side([&](const Member& member) {
    Crew own(crew, member.id);
    for (std::size_t share; (share = begun.fetch_add(1, std::memory_order_relaxed)) < passes.size();) {
      passes[share]->start();
      passes[share]->run(own);
    }
  });
  if (crew.stopped()) return false;
  for (const std::unique_ptr<Pass>& one : passes) one->finish();
  return true;
}

}  // namespace fusedlstm
