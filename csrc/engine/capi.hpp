// The table of functions behind capi.h, and how an LSTM becomes a handle.
#pragma once
#include "../capi.h"
#include "lstm.hpp"

namespace fusedlstm {

extern const fusedlstm_api c_api;

inline const fusedlstm_lstm* handle(const Lstm& lstm) { return reinterpret_cast<const fusedlstm_lstm*>(&lstm); }

}  // namespace fusedlstm
