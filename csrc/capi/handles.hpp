// Handles: numbers that stand for objects which one thread may close while another is about to use them.
//
// A handle is no address. It is the place of an object in a table that never shrinks, and how many objects that place has
// had: what says whether an object is there, and whether a thread is in it, outlives the object.
#pragma once
#include <array>
#include <atomic>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

namespace fusedlstm {

enum class Found { idle, busy, closed, torn };

template <class T>
class Handles {
 public:
  using Handle = std::uintptr_t;  // never 0

  // Throws std::bad_alloc.
  Handle open(std::unique_ptr<T> object) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::size_t at = free_ != none ? free_ : grow();
    Place& place = *find(at);
    free_ = place.next_free;
    place.object = std::move(object);
    const Handle handle = (place.word.load(std::memory_order_relaxed) >> state_bits) << index_bits | at;
    place.word.store(word(handle, Found::idle), std::memory_order_release);
    return handle;
  }

  // Take the object, if it is there and nobody is in it. One that was torn is taken only by who mends it.
  Found take(Handle handle, T** object, bool mends = false) {
    Place* const place = find(handle & (places - 1));
    if (place == nullptr) return Found::closed;
    Handle seen = word(handle, Found::idle);
    if (!place->word.compare_exchange_strong(seen, word(handle, Found::busy), std::memory_order_acquire)) {
      if (seen == word(handle, Found::busy)) return Found::busy;
      if (seen != word(handle, Found::torn)) return Found::closed;
      if (!mends) return Found::torn;
      if (!place->word.compare_exchange_strong(seen, word(handle, Found::busy), std::memory_order_acquire))
        return Found::busy;
    }
    *object = place->object.get();
    return Found::idle;
  }

  // Give back what was taken.
  void leave(Handle handle) {
    find(handle & (places - 1))->word.store(word(handle, Found::idle), std::memory_order_release);
  }

  Found close(Handle handle) {
    T* object = nullptr;
    if (const Found found = take(handle, &object, true); found != Found::idle) return found;
    const std::size_t at = handle & (places - 1);
    Place& place = *find(at);
    const Handle next = ((handle >> index_bits) + 1) & (~Handle{0} >> (index_bits + state_bits));
    place.word.store(next << state_bits | static_cast<Handle>(Found::closed), std::memory_order_release);
    const std::unique_ptr<T> last = std::move(place.object);
    if (next == 0) return Found::idle;  // a place that has had them all is not used again
    const std::lock_guard<std::mutex> lock(mutex_);
    place.next_free = free_;
    free_ = at;
    return Found::idle;
  }

  // Around a fork. The child has none of the other threads: whatever one of them was in will never be finished.
  void before_fork() { mutex_.lock(); }
  void after_fork() { mutex_.unlock(); }
  void after_fork_in_child() {
    for (std::size_t at = 0; at < count_; ++at) {
      std::atomic<Handle>& word = find(at)->word;
      const Handle seen = word.load(std::memory_order_relaxed);
      if ((seen & state_mask) == static_cast<Handle>(Found::busy))
        word.store((seen & ~state_mask) | static_cast<Handle>(Found::torn), std::memory_order_relaxed);
    }
    mutex_.unlock();
  }

 private:
  static constexpr unsigned state_bits = 2, index_bits = sizeof(Handle) * CHAR_BIT >= 64 ? 24 : 18;
  static constexpr Handle state_mask = (Handle{1} << state_bits) - 1;
  static constexpr std::size_t places = std::size_t{1} << index_bits, in_chunk = 1024, none = places;

  struct Place {
    std::atomic<Handle> word{Handle{1} << state_bits | static_cast<Handle>(Found::closed)};  // objects it has had, and Found
    std::unique_ptr<T> object;
    std::size_t next_free = none;
  };

  static Handle word(Handle handle, Found state) { return handle >> index_bits << state_bits | static_cast<Handle>(state); }

  Place* find(std::size_t at) const {
    Place* const chunk = chunks_[at / in_chunk].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : chunk + at % in_chunk;
  }

  std::size_t grow() {
    if (count_ == places) throw std::bad_alloc();
    if (count_ % in_chunk == 0) chunks_[count_ / in_chunk].store(new Place[in_chunk], std::memory_order_release);
    return count_++;
  }

  std::mutex mutex_;  // of what follows; `take` and `leave` need none
  std::size_t count_ = 0, free_ = none;
  std::array<std::atomic<Place*>, places / in_chunk> chunks_ = {};
};

}  // namespace fusedlstm
