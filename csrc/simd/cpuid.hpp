// What this CPU is and what it and the operating system support. Baseline code, included by dispatch.cpp alone.
#pragma once
#include <string>

#include "target.hpp"

#if defined(FL_X86_64)
#include <cstring>
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif

namespace {

struct Registers {
  unsigned eax, ebx, ecx, edx;
};

inline Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r = {0, 0, 0, 0};
#if defined(_MSC_VER)
  int out[4];
  __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
  std::memcpy(&r, out, sizeof r);
#else
  __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
#endif
  return r;
}

// The register sets that the operating system saves (XCR0).
inline unsigned saved_registers() {
  if (!(cpuid(1).ecx & (1u << 27))) return 0;
#if defined(_MSC_VER)
  return static_cast<unsigned>(_xgetbv(0));
#else
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
#endif
}

inline bool cpu_has_avx2() {
  if (cpuid(0).eax < 7 || (saved_registers() & 0x06) != 0x06) return false;
  const bool fma = cpuid(1).ecx & (1u << 12);
  const bool half = cpuid(1).ecx & (1u << 29);  // F16C
  const bool avx2 = cpuid(7).ebx & (1u << 5);
  return fma && half && avx2;
}

inline bool cpu_has_avx512() {
  if (!cpu_has_avx2() || (saved_registers() & 0xe6) != 0xe6) return false;
  const unsigned needed = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // F, DQ, BW, VL
  return (cpuid(7).ebx & needed) == needed;
}

inline bool cpu_has_avx2vnni() { return cpu_has_avx2() && cpuid(7).eax >= 1 && (cpuid(7, 1).eax & (1u << 4)); }
inline bool cpu_has_avx512vnni() { return cpu_has_avx512() && (cpuid(7).ecx & (1u << 11)); }
inline bool cpu_has_avx512bf16() { return cpu_has_avx512vnni() && cpuid(7).eax >= 1 && (cpuid(7, 1).eax & (1u << 5)); }

inline std::string cpu_name() {
  if (cpuid(0x80000000u).eax < 0x80000004u) return "x86-64";
  char name[49] = {};
  for (unsigned i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002u + i);
    std::memcpy(name + 16 * i, &r, sizeof r);
  }
  std::string text(name);
  text.erase(0, text.find_first_not_of(' '));
  return text;
}

}  // namespace
#else
namespace {

inline bool cpu_has_avx2() { return false; }
inline bool cpu_has_avx512() { return false; }
inline bool cpu_has_avx2vnni() { return false; }
inline bool cpu_has_avx512vnni() { return false; }
inline bool cpu_has_avx512bf16() { return false; }

inline std::string cpu_name() {
#if defined(__aarch64__) || defined(_M_ARM64)
  return "arm64";
#elif defined(__arm__)
  return "arm";
#elif defined(__riscv)
  return "RISC-V";
#elif defined(__powerpc__)
  return "PowerPC";
#elif defined(__i386__) || defined(_M_IX86)
  return "x86";
#else
  return "unknown";
#endif
}

}  // namespace
#endif
