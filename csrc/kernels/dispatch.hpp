// Which instruction set this process uses.
#pragma once
#include <string>
#include <vector>

#include "table.hpp"

namespace fusedlstm {

std::vector<const KernelTable*> available_kernels();  // on this CPU, best first
const KernelTable& kernels();                         // the best, or what FUSEDLSTM_ISA names; throws std::invalid_argument
std::string cpu_model();

}  // namespace fusedlstm
