#include "dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "../simd/cpuid.hpp"

namespace fusedlstm {

namespace {

KernelTable extended(KernelTable table, const Extension& by) {
  if (table.name == nullptr || by.name == nullptr) return {};
  table.name = by.name;
  for (std::size_t i = 0; i < by.count; ++i)
    table.of[static_cast<std::size_t>(by.improvements[i].precision)] = by.improvements[i].kernels;
  return table;
}

}  // namespace

std::vector<const KernelTable*> available_kernels() {
  static const KernelTable avx512vnni = extended(avx512_kernels, avx512vnni_kernels);
  static const KernelTable avx512bf16 = extended(avx512vnni, avx512bf16_kernels);
  static const KernelTable avx2vnni = extended(avx2_kernels, avx2vnni_kernels);
  const std::pair<const KernelTable*, bool> all[] = {
      {&avx512bf16, cpu_has_avx512bf16()},
      {&avx512vnni, cpu_has_avx512vnni()},
      {&avx512_kernels, cpu_has_avx512()},
      {&avx2vnni, cpu_has_avx2vnni()},
      {&avx2_kernels, cpu_has_avx2()},
      {&neon_kernels, true},
      {&scalar_kernels, true},
  };
  std::vector<const KernelTable*> found;
  for (const auto& [table, runs] : all)
    if (table->name != nullptr && runs) found.push_back(table);
  return found;
}

namespace {

const KernelTable* named(const std::string& wanted) {
  std::string names;
  for (const KernelTable* table : available_kernels()) {
    if (wanted == table->name) return table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  throw std::invalid_argument("FUSEDLSTM_ISA: expected one of " + names + " on this CPU, found '" + wanted + "'");
}

std::atomic<const KernelTable*>& chosen() {
  static std::atomic<const KernelTable*> table = [] {
    const char* wanted = std::getenv("FUSEDLSTM_ISA");
    return wanted == nullptr || *wanted == '\0' ? available_kernels().front() : named(wanted);
  }();
  return table;
}

}  // namespace

const KernelTable& kernels() { return *chosen().load(std::memory_order_relaxed); }

void use_kernels(const std::string& name) { chosen().store(named(name), std::memory_order_relaxed); }

std::string cpu_model() { return cpu_name(); }

}  // namespace fusedlstm
