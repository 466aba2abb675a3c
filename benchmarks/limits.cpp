// What one core of this machine can do at most, per instruction set, as JSON on stdout: the peak of fused multiply-adds,
// the time of a cell update, and the read bandwidth by working-set size. benchmarks/limits.py compiles and runs it.
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The best of many short runs: whatever else the machine does only ever makes a run longer.
template <class Run>
double best_of(int tries, Run run) {
  double best = 1e9;
  for (int i = 0; i < tries; ++i) {
    const double start = seconds();
    run();
    best = std::min(best, seconds() - start);
  }
  return best;
}

// Twelve independent chains hide the latency of a multiply-add.
#define TWELVE(op, x) \
  op(0, x) op(1, x) op(2, x) op(3, x) op(4, x) op(5, x) op(6, x) op(7, x) op(8, x) op(9, x) op(10, x) op(11, x)
#define FMA(i, x) "vfmadd231ps %%" #x "mm14, %%" #x "mm14, %%" #x "mm" #i "\n"
#define CLEAR(i, x) "vpxor %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n"
#define DIVIDE(x) "vdivps %%" #x "mm15, %%" #x "mm14, %%" #x "mm13\n"
#define CLOBBERS                                                                                                      \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
      "xmm14", "xmm15"

constexpr int fmas = 12;        // of multiply_add, per iteration
constexpr int cell_fmas = 60;   // five exponentials to float32's precision and what is around them
constexpr int cell_divides = 3; // the forget gate, input gate times candidate, output gate times tanh(c)

// A new line of four vectors, and the line that will be needed 1 KiB later.
#define READ(x, a, b, c, d) \
  "vmovaps " #a "(%0), %%" #x "mm0\n vmovaps " #b "(%0), %%" #x "mm1\n vmovaps " #c "(%0), %%" #x "mm2\n vmovaps " #d "(%0), %%" #x "mm3\n"
#define AHEAD "prefetcht0 1024(%0)\n prefetcht0 1088(%0)\n prefetcht0 1152(%0)\n prefetcht0 1216(%0)\n"

#define PROBES(NAME, TARGET, X, LOADS)                                                                              \
  struct NAME {                                                                                                     \
    __attribute__((noinline, target(TARGET))) static void multiply_add(long iterations) {                           \
      asm volatile(TWELVE(CLEAR, X) CLEAR(14, X) "1:\n" TWELVE(FMA, X) "dec %0\n jnz 1b\n"                           \
                   : "+r"(iterations)::CLOBBERS, "cc");                                                             \
    }                                                                                                               \
    __attribute__((noinline, target(TARGET))) static void cell(long iterations, const float* ones) {                \
      asm volatile(TWELVE(CLEAR, X) "vmovaps (%1), %%" #X "mm14\n vmovaps (%1), %%" #X "mm15\n"                       \
                   "1:\n" DIVIDE(X) TWELVE(FMA, X) TWELVE(FMA, X) DIVIDE(X) TWELVE(FMA, X) TWELVE(FMA, X) DIVIDE(X)  \
                       TWELVE(FMA, X) "dec %0\n jnz 1b\n"                                                           \
                   : "+r"(iterations)                                                                               \
                   : "r"(ones)                                                                                      \
                   : CLOBBERS, "cc", "memory");                                                                     \
    }                                                                                                               \
    __attribute__((noinline, target(TARGET))) static void read(const char* p, std::size_t bytes) {                  \
      for (std::size_t i = 0; i < bytes; i += 256) asm volatile(LOADS::"r"(p + i) : CLOBBERS, "memory");            \
    }                                                                                                               \
    __attribute__((noinline, target(TARGET))) static void read_ahead(const char* p, std::size_t bytes) {            \
      for (std::size_t i = 0; i < bytes; i += 256) asm volatile(AHEAD LOADS::"r"(p + i) : CLOBBERS, "memory");      \
    }                                                                                                               \
  };
PROBES(Avx2, "avx2,fma", y, READ(y, 0, 32, 64, 96) READ(y, 128, 160, 192, 224))
PROBES(Avx512, "avx512f", z, READ(z, 0, 64, 128, 192))

template <class Probes>
void report(const char* isa, int lanes, const char* separator) {
  alignas(64) float ones[16];
  std::fill(ones, ones + 16, 1.0f);
  const long n = 100000;
  Probes::multiply_add(10 * n);  // the clock frequency settles
  const double fma = best_of(50, [&] { Probes::multiply_add(n); }) / n;
  const double cell = best_of(50, [&] { Probes::cell(n / 10, ones); }) / (n / 10);
  std::printf("  \"%s\": {\n    \"gflops\": %.1f,\n    \"cell_ns\": %.4f,\n    \"reads\": [", isa, 2 * fmas * lanes / fma / 1e9,
              cell / lanes * 1e9);
  const char* comma = "";
  for (std::size_t kib : {16, 24, 32, 48, 64, 96, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384, 32768, 65536, 131072}) {
    const std::size_t bytes = kib * 1024;
    const std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(4096, bytes), std::free);
    char* p = static_cast<char*>(memory.get());
    std::fill(p, p + bytes, char{1});
    const int repeats = static_cast<int>(std::max<std::size_t>(1, (std::size_t{8} << 20) / bytes));
    const auto time = [&](void (*read)(const char*, std::size_t)) {
      return best_of(bytes > (std::size_t{16} << 20) ? 5 : 25, [&] {
               for (int r = 0; r < repeats; ++r) read(p, bytes);
             }) / repeats;
    };
    const double best = std::min(time(Probes::read), time(Probes::read_ahead));
    std::printf("%s\n      [%zu, %.1f]", comma, bytes, static_cast<double>(bytes) / best / 1e9);
    comma = ",";
  }
  std::printf("\n    ]\n  }%s\n", separator);
}

}  // namespace

int main() {
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f");
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    std::fputs("this machine has no AVX2\n", stderr);
    return 1;
  }
  std::printf("{\n");
  report<Avx2>("avx2", 8, avx512 ? "," : "");
  if (avx512) report<Avx512>("avx512", 16, "");
  std::printf("}\n");
}
