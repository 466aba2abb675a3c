// The part of ONNX Runtime's C API that a custom operator needs, declared here so that nothing of it has to be installed.
// Its table only grows: a function stays at its place for ever, and operators say for which version their structure is.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(_WIN32)
#define FL_ORT_CALL __stdcall
#define FL_ORT_EXPORT __declspec(dllexport)
#else
#define FL_ORT_CALL
#define FL_ORT_EXPORT __attribute__((visibility("default")))
#endif

namespace fusedlstm::ort {

constexpr std::uint32_t version = 17;  // of the API, which 1.17 brought

struct Status;
struct Value;
struct TensorInfo;
struct Domain;
struct Options;
struct KernelInfo;
struct KernelContext;

struct ApiBase {
  const void* const*(FL_ORT_CALL* get_api)(std::uint32_t version);
  const char*(FL_ORT_CALL* version_string)();
};

// A function of the table, by its place.
template <std::size_t place, class... Arguments>
struct Entry {
  Status* operator()(Arguments... arguments) const {
    return reinterpret_cast<Status*(FL_ORT_CALL*)(Arguments...)>(const_cast<void*>(table[place]))(arguments...);
  }
  const void* const* table;
};

struct Api {
  explicit Api(const void* const* table)
      : make_status{table},
        make_domain{table},
        add_operator{table},
        add_domain{table},
        data{table},
        rank{table},
        sizes{table},
        info{table},
        integer{table},
        text{table},
        input{table},
        output{table},
        constant{table},
        release_info_(table[99]) {}
  void release(TensorInfo* one) const {
    reinterpret_cast<void(FL_ORT_CALL*)(TensorInfo*)>(const_cast<void*>(release_info_))(one);
  }

  Entry<0, int, const char*> make_status;
  Entry<26, const char*, Domain**> make_domain;
  Entry<27, Domain*, const struct Operator*> add_operator;
  Entry<28, Options*, Domain*> add_domain;
  Entry<51, Value*, void**> data;
  Entry<61, const TensorInfo*, std::size_t*> rank;
  Entry<62, const TensorInfo*, std::int64_t*, std::size_t> sizes;
  Entry<65, const Value*, TensorInfo**> info;
  Entry<86, const KernelInfo*, const char*, std::int64_t*> integer;
  Entry<87, const KernelInfo*, const char*, char*, std::size_t*> text;
  Entry<90, const KernelContext*, std::size_t, const Value**> input;
  Entry<91, KernelContext*, std::size_t, const std::int64_t*, std::size_t, Value**> output;
  Entry<249, const KernelInfo*, std::size_t, int*, const Value**> constant;

 private:
  const void* release_info_;
};

enum Element : int { float32 = 1, int32 = 6 };
enum Kind : int { required = 0, optional = 1 };

// As of version 17; functions that are null have defaults.
struct Operator {
  using Of = const Operator*;
  std::uint32_t version;
  void*(FL_ORT_CALL* create_kernel_1)(Of, const void* const*, const KernelInfo*);
  const char*(FL_ORT_CALL* name)(Of);
  const char*(FL_ORT_CALL* provider)(Of);
  Element(FL_ORT_CALL* input_type)(Of, std::size_t);
  std::size_t(FL_ORT_CALL* inputs)(Of);
  Element(FL_ORT_CALL* output_type)(Of, std::size_t);
  std::size_t(FL_ORT_CALL* outputs)(Of);
  void(FL_ORT_CALL* compute_1)(void*, KernelContext*);
  void(FL_ORT_CALL* destroy)(void*);
  Kind(FL_ORT_CALL* input_kind)(Of, std::size_t);
  Kind(FL_ORT_CALL* output_kind)(Of, std::size_t);
  int(FL_ORT_CALL* memory)(Of, std::size_t);
  int(FL_ORT_CALL* variadic[4])(Of);
  Status*(FL_ORT_CALL* create_kernel)(Of, const void* const*, const KernelInfo*, void**);
  Status*(FL_ORT_CALL* compute)(void*, KernelContext*);
  Status*(FL_ORT_CALL* infer)(Of, void*);
  int(FL_ORT_CALL* first_version)(Of);
  int(FL_ORT_CALL* last_version)(Of);
  std::size_t(FL_ORT_CALL* in_place)(int**, int**);
  void(FL_ORT_CALL* release_in_place)(int*, int*);
  std::size_t(FL_ORT_CALL* aliases)(int**, int**);
  void(FL_ORT_CALL* release_aliases)(int*, int*);
};
static_assert(sizeof(Operator) == 26 * sizeof(void*), "the structure is ONNX Runtime's");

}  // namespace fusedlstm::ort
