// The table of capi.h.
#include "capi.hpp"

namespace fusedlstm {

// What a compiled program has in it: new members go to the end, and these numbers with them.
static_assert(sizeof(fusedlstm_api) == 2 * sizeof(unsigned) + 19 * sizeof(void (*)()));
static_assert(sizeof(unsigned) * 2 % alignof(void (*)()) == 0);

const fusedlstm_api& c_api() {
  static const fusedlstm_api table = [] {
    fusedlstm_api api = {};
    api.version = FUSEDLSTM_API_VERSION;
    api.size = sizeof api;
    add_lstms(api);
    add_models(api);
    return api;
  }();
  return table;
}

}  // namespace fusedlstm
