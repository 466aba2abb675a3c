// Tensors of a framework, read where they lie and made by its own allocator: the C side of DLPack 1.x, which a tensor's type
// offers as __dlpack_c_exchange_api__. A view costs some 30 ns that way, where an array of NumPy's costs a microsecond, and
// leaves no trace: a tensor that NumPy has seen can no longer be resized.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "bindings.hpp"

namespace tensors {

// What follows is DLPack's (https://dmlc.github.io/dlpack/latest/c_api.html), in its order.
struct Version {
  std::uint32_t major, minor;
};
struct View {
  void* data;
  std::int32_t device, device_id;
  std::int32_t rank;
  std::uint8_t kind, bits;
  std::uint16_t lanes;
  std::int64_t *shape, *strides;  // no strides: in C order
  std::uint64_t offset;           // bytes
};
struct Managed {
  Version version;
  void* context;
  void (*destroy)(Managed* self);
  std::uint64_t flags;
  View view;
};
struct Exchange {
  Version version;
  const Exchange* older;
  int (*allocate)(View* like, Managed** made, void* context, void (*fail)(void*, const char*, const char*));
  int (*take)(void* object, Managed** taken);
  int (*wrap)(Managed* made, void** object);
  int (*look)(void* object, View* view);
  int (*stream)(std::int32_t device, std::int32_t device_id, void** stream);
};

// Floats in this machine's memory. The tensor keeps shape and memory, so nobody may run Python while this is used.
struct Floats {
  float* data = nullptr;
  const std::int64_t* shape = nullptr;
  std::int64_t strides[3] = {0, 0, 0};
  int rank = 0;

  bool has_shape(std::initializer_list<std::int64_t> wanted) const;
  bool contiguous() const;
  bool whole_rows() const { return rank > 0 && (shape[rank - 1] <= 1 || strides[rank - 1] == 1); }
};

struct Destroy {
  void operator()(Managed* one) const {
    if (one->destroy != nullptr) one->destroy(one);
  }
};
using Owned = std::unique_ptr<Managed, Destroy>;

// The type of a framework's tensors.
class Type : public Initialised {
 public:
  explicit Type(const py::type& type);

  // False: not of this type, on another device, of other numbers, negated, of no or more than 3 axes, or misaligned.
  bool look(const py::handle& tensor, Floats& found) const;
  // Uninitialised floats, and where they lie; throws std::bad_alloc.
  Owned make(std::vector<std::int64_t> shape, float*& data) const;
  py::object wrap(Owned made) const;

 private:
  // Whether its numbers are those in memory with another sign, which DLPack does not say.
  bool negated(const py::handle& tensor) const;

  py::type type_;
  py::object negated_;
  const Exchange* exchange_ = nullptr;
};

}  // namespace tensors
