// Which instruction set this process uses.
#pragma once
#include <string>
#include <vector>

#include "table.hpp"

namespace fusedlstm {

std::vector<const KernelTable*> available_kernels();  // on this CPU, best first
const KernelTable& kernels();                         // the best, or what FUSEDLSTM_ISA names; throws std::invalid_argument
void use_kernels(const std::string& name);            // for what is made from now on (the tests run every instruction set)
std::string cpu_model();

}  // namespace fusedlstm
