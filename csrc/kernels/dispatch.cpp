#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

#include "../simd/cpuid.hpp"

namespace fusedlstm {

std::vector<const KernelTable*> available_kernels() {
  std::vector<const KernelTable*> found;
#if defined(__x86_64__) || defined(_M_X64)
  if (cpu_has_avx512()) found.push_back(&avx512_kernels);
  if (cpu_has_avx2()) found.push_back(&avx2_kernels);
#elif defined(__aarch64__) || defined(_M_ARM64)
  found.push_back(&neon_kernels);
#endif
  found.push_back(&scalar_kernels);
  return found;
}

static const KernelTable& choose() {
  const std::vector<const KernelTable*> found = available_kernels();
  const char* wanted = std::getenv("FUSEDLSTM_ISA");
  if (wanted == nullptr || *wanted == '\0') return *found.front();
  std::string names;
  for (const KernelTable* table : found) {
    if (std::string(wanted) == table->name) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  throw std::invalid_argument("FUSEDLSTM_ISA: expected one of " + names + " on this CPU, found '" + wanted + "'");
}

const KernelTable& kernels() {
  static const KernelTable& chosen = choose();
  return chosen;
}

std::string cpu_model() { return cpu_name(); }

}  // namespace fusedlstm
