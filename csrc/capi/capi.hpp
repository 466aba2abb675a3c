// The table of functions behind capi.h, and how LSTMs and models become handles.
#pragma once
#include "../capi.h"
#include "../engine/lstm.hpp"
#include "../program/live.hpp"

namespace fusedlstm {

const fusedlstm_api& c_api();

// Each fills in its part.
void add_lstms(fusedlstm_api& api);
void add_models(fusedlstm_api& api);

inline const fusedlstm_lstm* handle(const Lstm& lstm) { return reinterpret_cast<const fusedlstm_lstm*>(&lstm); }
inline const fusedlstm_model* handle(const LiveTemplate& model) { return reinterpret_cast<const fusedlstm_model*>(&model); }

}  // namespace fusedlstm
