// Whether processes fork here, and what tells.
#pragma once

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define FL_HAS_FORK 1
#endif
