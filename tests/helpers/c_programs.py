"""Programs in C that use the C API; one counts what a step asks of the system."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fusedlstm as fl

ROOT = Path(__file__).parents[2]


def compile_c(tmp_path, source, *flags):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    include = fl.include_dir() if Path(fl.include_dir()).is_dir() else ROOT / "csrc"
    library = tmp_path / "library.so"
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *flags]
    subprocess.run([compiler, *strict, "-O2", "-shared", "-fPIC", "-I", include, source, "-o", library], check=True)
    return library


# Counts what reaches the allocator and the locks, and steps where the kernel kills whoever calls it.
COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "capi.h"

static __thread long calls;
static __thread int counting;
#define FORWARD(result, name, parameters, ...) \
  result name parameters { \
    static result(*real) parameters; \
    if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, #name); \
    calls += counting; \
    return real(__VA_ARGS__); \
  }
FORWARD(void*, malloc, (size_t n), n)
FORWARD(void*, realloc, (void* p, size_t n), p, n)
FORWARD(void*, aligned_alloc, (size_t a, size_t n), a, n)
FORWARD(int, posix_memalign, (void** p, size_t a, size_t n), p, a, n)
FORWARD(int, pthread_mutex_lock, (void* p), p)
FORWARD(int, pthread_cond_signal, (void* p), p)
FORWARD(int, pthread_cond_broadcast, (void* p), p)

long count_in_steps(const fusedlstm_api* api, const fusedlstm_lstm* lstm, size_t batch, float* x, float* y) {
  fusedlstm_stream* stream;
  if (api->open(lstm, batch, &stream) != 0) return -1;
  calls = 0, counting = 1;
  void* volatile one = malloc(1); /* the counter counts */
  free(one);
  for (int i = 0; i < 1000; ++i) api->step(stream, x, y, NULL);
  counting = 0;
  return calls - 1;
}

/* In this mode the kernel allows read, write and exit, and kills who calls anything else. A child of one thread steps. */
int step_without_system_calls(const fusedlstm_api* api, const fusedlstm_lstm* lstm, size_t batch, float* x, float* y) {
  int status;
  const pid_t child = fork();
  if (child == 0) {
    fusedlstm_stream* stream;
    status = api->open(lstm, batch, &stream);
    if (status == 0) status = api->step(stream, x, y, NULL); /* pages are given out at first use */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) _exit(77);
    for (int i = 0; i < 1000 && status == 0; ++i) status = api->step(stream, x, y, NULL);
    syscall(SYS_exit, status);
  }
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

long count_in_model_steps(const fusedlstm_api* api, const fusedlstm_model* model) {
  fusedlstm_model_stream* stream;
  if (api->open_model(model, &stream) != 0) return -1;
  calls = 0, counting = 1;
  void* volatile one = malloc(1); /* the counter counts */
  free(one);
  for (int i = 0; i < 1000; ++i) api->step_model(stream);
  counting = 0;
  return calls - 1;
}

int step_model_without_system_calls(const fusedlstm_api* api, const fusedlstm_model* model) {
  int status;
  const pid_t child = fork();
  if (child == 0) {
    fusedlstm_model_stream* stream;
    status = api->open_model(model, &stream);
    if (status == 0) status = api->step_model(stream); /* pages are given out at first use */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) _exit(77);
    for (int i = 0; i < 1000 && status == 0; ++i) status = api->step_model(stream);
    syscall(SYS_exit, status);
  }
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}
"""


def run_counted(tmp_path, code, *arguments):
    """Run Python that ends with what the counter found, which is to be 0."""
    source = tmp_path / "count.c"
    source.write_text(COUNTER)
    library = compile_c(tmp_path, source, "-std=gnu99", "-Wno-pedantic")
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    if run.returncode == 77:
        pytest.skip("no seccomp here")
    assert run.returncode == 0, (run.returncode, run.stderr)
