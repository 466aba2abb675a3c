#include "dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "../simd/cpuid.hpp"

namespace fusedlstm {

#if defined(__x86_64__) || defined(_M_X64)
namespace {

KernelTable extended(KernelTable table, const Extension& by) {
  table.name = by.name;
  for (std::size_t i = 0; i < by.count; ++i)
    table.of[static_cast<std::size_t>(by.improvements[i].precision)] = by.improvements[i].kernels;
  return table;
}

}  // namespace
#endif

std::vector<const KernelTable*> available_kernels() {
  std::vector<const KernelTable*> found;
#if defined(__x86_64__) || defined(_M_X64)
  static const KernelTable avx512vnni = extended(avx512_kernels, avx512vnni_kernels);
  static const KernelTable avx512bf16 = extended(avx512vnni, avx512bf16_kernels);
  static const KernelTable avx2vnni = extended(avx2_kernels, avx2vnni_kernels);
  if (cpu_has_avx512bf16()) found.push_back(&avx512bf16);
  if (cpu_has_avx512vnni()) found.push_back(&avx512vnni);
  if (cpu_has_avx512()) found.push_back(&avx512_kernels);
  if (cpu_has_avx2vnni()) found.push_back(&avx2vnni);
  if (cpu_has_avx2()) found.push_back(&avx2_kernels);
#elif defined(__aarch64__) || defined(_M_ARM64)
  found.push_back(&neon_kernels);
#endif
  found.push_back(&scalar_kernels);
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
