// A layer that runs along time inside a program: the call and the memory that it keeps from run to run.
#pragma once
#include <cstddef>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "../engine/crew.hpp"
#include "../engine/layer.hpp"
#include "../engine/threads.hpp"
#include "steps.hpp"

namespace fusedlstm {

struct KeptPass : Step::State {
  // sizes: a call's batch, time and size of frames; arrays come with each run.
  KeptPass(const Layer& of, const Call& sizes) : call(sizes), layer(of), worth_sharing(of.load(sizes).worth_sharing()) {
    std::vector<std::size_t> rows(call.batch);
    std::iota(rows.begin(), rows.end(), std::size_t{0});
    pass = layer.pass(call, std::move(rows), 1, true);
  }

  // x and y of the call are set; arrays: with the states before it, if there are any, and after it.
  template <class Arrays>
  void run(const Memory& memory, const Arrays& arrays) {
    call.h_0 = arrays.h_0 ? arrays.h_0->template at<float>(memory) : nullptr;
    call.c_0 = arrays.c_0 ? arrays.c_0->template at<float>(memory) : nullptr;
    call.h_n = arrays.h_n.template at<float>(memory);
    call.c_n = arrays.c_n.template at<float>(memory);
    const std::size_t threads = memory.threads == 0 ? num_threads() : memory.threads;
    if (worth_sharing && threads > 1) {
      layer.run(call, threads);
      return;
    }
    Crew alone;
    pass->start();
    pass->run(alone);
    if (!alone.was_stopped()) pass->finish();
  }

  Call call;

 private:
  const Layer& layer;
  bool worth_sharing;
  std::unique_ptr<Pass> pass;
};

}  // namespace fusedlstm
