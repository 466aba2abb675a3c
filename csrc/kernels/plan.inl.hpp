// In which order blocks of rows and panels are met.
#pragma once
#include <cstddef>

#include "panels.inl.hpp"
#include "parts.inl.hpp"

namespace {

// How many panels a group of rows takes at a time, so that the sums fill the registers.
template <class Kind>
constexpr int panels_beside(int rows) {
  for (int panels = Kind::panels; panels > 1; --panels)
    if (panels * rows <= Kind::rows) return panels;
  return 1;
}

// Vectors of a last panel with so many outputs; 0: all.
template <class Kind>
FL_INLINE std::size_t tail_of(std::size_t last_outputs) {
  return last_outputs == 0 ? gates : fusedlstm::tail_vectors(Kind::precision, (last_outputs + lanes - 1) / lanes);
}

// Half of a small L2.
constexpr std::size_t set_bytes = 512 * 1024;

// Blocks that cover all rows and the panels [first, last). Panels go in sets whose weights fit into half of a small L2: a
// group of rows meets all of a set while its inputs are in L1, and the set stays in L2 for the next group.
template <class Kind>
struct Plan {
  std::size_t first, tail;
  Parts groups, bands;  // bands: of whole panels
  std::size_t set;      // bands
  bool beyond_cache;    // all panels together do not fit into L2

  struct Panels {
    std::size_t first, last;
    std::size_t tail;  // vectors of the last one
    FL_INLINE std::size_t whole() const { return last - first - (tail < gates ? 1 : 0); }
  };

  // inputs: how many k each panel has; fewest: bands, if there are panels enough; most: panels that one row takes at a time
  FL_INLINE Plan(std::size_t rows, std::size_t inputs, const Panels& panels, std::size_t fewest = 1,
                 int most = panels_beside<Kind>(1))
      : first(panels.first),
        tail(panels.tail),
        groups(rows, parts_of(rows, Kind::rows)),
        bands(panels.whole(),
              at_least(panels.whole() < fewest ? panels.whole() : fewest,
                       parts_of(panels.whole(),
                                groups.largest() == 1 ? most : panels_beside<Kind>(static_cast<int>(groups.largest()))))),
        set(1),
        beyond_cache(false) {
    if (groups.count == 1) return;
    const std::size_t panel_bytes = fusedlstm::panel_bytes(Kind::precision, inputs, panel_width);
    const std::size_t fitting = set_bytes / (panel_bytes * at_least(1, bands.largest()));
    set = fitting == 0 ? 1 : fitting;
    beyond_cache = panel_bytes * panels.whole() > 2 * set_bytes;
  }

  // Call run(rows, panels, tail, block) for each block.
  template <class Run>
  FL_INLINE void each(bool last_panel_first, Run run) const {
    const bool none = bands.small + bands.larger == 0, joins = tail < gates && groups.largest() == 1 && !none;
    const std::size_t count = none ? 0 : bands.count;
    const auto band_at = [&](std::size_t i) { return last_panel_first ? count - 1 - i : i; };
    const auto block_of = [&](std::size_t group, std::size_t panel) {
      return Block{groups.start(group), panel, group, groups.count, false, panel};
    };
    for (std::size_t set_start = 0; set_start < count; set_start += set) {
      for (std::size_t group = 0; group < groups.count; ++group) {
        for (std::size_t i = set_start; i < set_start + set && i < count; ++i) {
          const std::size_t band = band_at(i);
          const bool joined = joins && band + 1 == count;
          Block block = block_of(group, first + bands.start(band));
          block.fetch = beyond_cache && i + set < count;
          if (block.fetch) block.next_panel = first + bands.start(band_at(i + set));
          run(groups.size(group), bands.size(band) + (joined ? 1 : 0), joined ? tail : gates, block);
        }
      }
    }
    if (tail == gates || joins) return;
    const std::size_t last = first + (none ? 0 : bands.start(count - 1) + bands.size(count - 1));
    for (std::size_t group = 0; group < groups.count; ++group) run(groups.size(group), 1, tail, block_of(group, last));
  }
};

}  // namespace
