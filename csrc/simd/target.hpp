// What the compiler compiles for. On macOS one build may be for two architectures, so that only the compiler can tell.
#pragma once

#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))
#define FL_X86_64 1
#elif (defined(__aarch64__) && !defined(__AARCH64EB__)) || defined(_M_ARM64)
#define FL_ARM64 1
#endif

#if defined(FL_X86_64) || defined(__SSE2__)
#define FL_SSE2 1
#endif
