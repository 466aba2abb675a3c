// LSTM as an operator of ONNX Runtime's, in the domain "fusedlstm": inputs X, W, R, B, sequence_lens, initial_h, initial_c,
// outputs Y, Y_h, Y_c, attributes hidden_size and direction, all with ONNX's meaning. W, R and B are constants, packed once.
#include "onnxruntime.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../engine/lstm.hpp"

namespace fusedlstm::ort {

namespace {

enum Input : std::size_t { x_input, w_input, r_input, b_input, lengths_input, h_input, c_input, input_count };
using Sizes = std::vector<std::int64_t>;

struct Failed {
  Status* status;
};
void check(Status* status) {
  if (status != nullptr) throw Failed{status};
}

// Whatever goes wrong as a status of theirs: nothing may be thrown through C.
template <class Run>
Status* guarded(const Api& api, Run run) noexcept {
  try {
    run();
    return nullptr;
  } catch (const Failed& failed) {
    return failed.status;
  } catch (const std::exception& error) {
    return api.make_status(1, error.what());
  } catch (...) {
    return api.make_status(1, "fusedlstm::LSTM: an unknown error");
  }
}

void expect(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument(std::string("fusedlstm::LSTM: expected ") + what);
}

Sizes sizes_of(const Api& api, const Value* value) {
  TensorInfo* info = nullptr;
  check(api.info(value, &info));
  std::size_t rank = 0;
  Status* status = api.rank(info, &rank);
  Sizes sizes(rank);
  if (status == nullptr) status = api.sizes(info, sizes.data(), rank);
  api.release(info);
  check(status);
  return sizes;
}

template <class T>
T* data_of(const Api& api, const Value* value) {
  void* data = nullptr;
  check(api.data(const_cast<Value*>(value), &data));
  return static_cast<T*>(data);
}

class Kernel {
 public:
  Kernel(const void* const* table, const KernelInfo* info) : api_(table) {
    std::int64_t hidden = 0;
    check(api_.integer(info, "hidden_size", &hidden));
    char direction[16] = {};
    std::size_t room = sizeof direction;
    check(api_.text(info, "direction", direction, &room));
    const std::string way = direction;
    expect(way == "forward" || way == "reverse" || way == "bidirectional", "a direction");
    expect(hidden > 0 && hidden < (std::int64_t{1} << 24), "a hidden_size");
    hidden_ = static_cast<std::size_t>(hidden);
    const std::size_t directions = way == "bidirectional" ? 2 : 1;
    const Value* given[4] = {};
    for (const Input which : {w_input, r_input, b_input}) {
      int constant = 0;
      check(api_.constant(info, which, &constant, &given[which]));
      expect(constant != 0 && given[which] != nullptr, "W, R and B that are constants");
    }
    const Sizes w = sizes_of(api_, given[w_input]);
    const std::int64_t count = static_cast<std::int64_t>(directions), rows = 4 * hidden;
    expect(w.size() == 3 && w[2] > 0 && w == Sizes({count, rows, w[2]}) &&
               sizes_of(api_, given[r_input]) == Sizes({count, rows, hidden}) &&
               sizes_of(api_, given[b_input]) == Sizes({count, 2 * rows}),
           "W, R and B of the shapes that ONNX says");
    inputs_ = static_cast<std::size_t>(w[2]);
    for (std::size_t d = 0; d < directions; ++d) pack(given, d, way == "reverse" || d == 1);
  }

  void run(KernelContext* context) const {
    const Value* given[input_count] = {};
    for (std::size_t k = 0; k < input_count; ++k)
      if (k == x_input || k >= lengths_input) check(api_.input(context, k, &given[k]));
    const Sizes x = sizes_of(api_, given[x_input]);
    expect(x.size() == 3 && x[2] == static_cast<std::int64_t>(inputs_), "X (seq_length, batch_size, input_size)");
    const std::int64_t directions = static_cast<std::int64_t>(lstms_.size()), hidden = static_cast<std::int64_t>(hidden_);
    const Sizes y = {x[0], directions, x[1], hidden}, state = {directions, x[1], hidden};
    for (const Input which : {h_input, c_input})
      expect(given[which] == nullptr || sizes_of(api_, given[which]) == state,
             "states (num_directions, batch_size, hidden_size)");
    const std::vector<std::int64_t> lengths = lengths_from(given[lengths_input], x);
    float* made[3] = {};
    for (std::size_t k = 0; k < 3; ++k) {
      const Sizes& sizes = k == 0 ? y : state;
      Value* value = nullptr;
      check(api_.output(context, k, sizes.data(), sizes.size(), &value));
      if (value != nullptr) made[k] = data_of<float>(api_, value);
    }
    Call call = {};
    call.time = static_cast<std::size_t>(x[0]);
    call.batch = static_cast<std::size_t>(x[1]);
    if (call.batch == 0) return;
    const std::size_t states = call.batch * hidden_;
    std::vector<float> unwanted(made[1] != nullptr && made[2] != nullptr ? 0 : 2 * states);
    call.x = sequence(data_of<float>(api_, given[x_input]), static_cast<std::ptrdiff_t>(inputs_),
                      static_cast<std::ptrdiff_t>(call.batch * inputs_));
    if (!lengths.empty()) call.lengths = lengths.data();
    for (std::size_t d = 0; d < lstms_.size(); ++d) {
      if (made[0] != nullptr)
        call.y = sequence(made[0] + d * states, static_cast<std::ptrdiff_t>(hidden_),
                          static_cast<std::ptrdiff_t>(lstms_.size() * states));
      if (given[h_input] != nullptr) call.h_0 = data_of<float>(api_, given[h_input]) + d * states;
      if (given[c_input] != nullptr) call.c_0 = data_of<float>(api_, given[c_input]) + d * states;
      call.h_n = made[1] != nullptr ? made[1] + d * states : unwanted.data();
      call.c_n = made[2] != nullptr ? made[2] + d * states : unwanted.data() + states;
      if (!lstms_[d]->run(call)) throw std::runtime_error("fusedlstm::LSTM: it was stopped");
    }
  }
  const Api& api() const { return api_; }

 private:
  // ONNX has the gates i, o, f, c, and a bias for each side.
  void pack(const Value* const* given, std::size_t d, bool reverse) {
    static constexpr std::size_t from[4] = {0, 2, 3, 1};
    const auto in_order = [&](Input which, std::size_t inputs) {
      const float* const matrix = data_of<float>(api_, given[which]) + d * 4 * hidden_ * inputs;
      std::vector<float> found;
      for (const std::size_t gate : from)
        found.insert(found.end(), matrix + gate * hidden_ * inputs, matrix + (gate + 1) * hidden_ * inputs);
      return found;
    };
    const std::vector<float> w = in_order(w_input, inputs_), r = in_order(r_input, hidden_);
    const float* const both = data_of<float>(api_, given[b_input]) + d * 8 * hidden_;
    std::vector<float> bias;
    for (const std::size_t gate : from)
      for (std::size_t k = gate * hidden_; k < (gate + 1) * hidden_; ++k) bias.push_back(both[k] + both[4 * hidden_ + k]);
    Shape shape;
    shape.layers = {{inputs_, hidden_, hidden_, false, false}};
    shape.reverse = reverse;
    DirectionArrays arrays;
    arrays.weight_ih = w.data();
    arrays.weight_hh = r.data();
    arrays.bias = bias.data();
    lstms_.push_back(std::make_unique<Lstm>(shape, std::vector<DirectionArrays>{arrays}));
  }

  std::vector<std::int64_t> lengths_from(const Value* value, const Sizes& x) const {
    if (value == nullptr) return {};
    expect(sizes_of(api_, value) == Sizes({x[1]}), "a length for each row");
    const std::int32_t* const given = data_of<std::int32_t>(api_, value);
    std::vector<std::int64_t> lengths(given, given + x[1]);
    for (const std::int64_t length : lengths) expect(length >= 0 && length <= x[0], "lengths from 0 to seq_length");
    return lengths;
  }

  Api api_;
  std::size_t hidden_ = 0, inputs_ = 0;
  std::vector<std::unique_ptr<Lstm>> lstms_;  // of each direction
};

Status* FL_ORT_CALL create(const Operator*, const void* const* table, const KernelInfo* info, void** kernel) {
  return guarded(Api(table), [&] { *kernel = new Kernel(table, info); });
}
Status* FL_ORT_CALL compute(void* kernel, KernelContext* context) {
  const Kernel& one = *static_cast<Kernel*>(kernel);
  return guarded(one.api(), [&] { one.run(context); });
}

Operator described() {
  Operator one = {};
  one.version = version;
  one.name = [](Operator::Of) { return "LSTM"; };
  one.provider = [](Operator::Of) -> const char* { return nullptr; };  // the CPU
  one.inputs = [](Operator::Of) -> std::size_t { return input_count; };
  one.outputs = [](Operator::Of) -> std::size_t { return 3; };
  one.input_type = [](Operator::Of, std::size_t which) { return which == lengths_input ? int32 : float32; };
  one.output_type = [](Operator::Of, std::size_t) { return float32; };
  one.input_kind = [](Operator::Of, std::size_t which) { return which < lengths_input ? required : optional; };
  one.output_kind = [](Operator::Of, std::size_t) { return optional; };
  one.memory = [](Operator::Of, std::size_t) { return 0; };
  for (auto& arity : one.variadic) arity = [](Operator::Of) { return 1; };
  one.first_version = [](Operator::Of) { return 1; };
  one.last_version = [](Operator::Of) { return 0x7fffffff; };
  one.create_kernel = create;
  one.compute = compute;
  one.destroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  return one;
}

}  // namespace

}  // namespace fusedlstm::ort

// What SessionOptions.register_custom_ops_library calls.
extern "C" FL_ORT_EXPORT fusedlstm::ort::Status* FL_ORT_CALL RegisterCustomOps(fusedlstm::ort::Options* options,
                                                                               const fusedlstm::ort::ApiBase* base) {
  using namespace fusedlstm::ort;
  static const Operator lstm = described();
  const void* const* const table = base->get_api(version);
  if (table == nullptr) return Api(base->get_api(1)).make_status(1, "fusedlstm: expected ONNX Runtime 1.17 or newer");
  const Api api(table);
  Domain* domain = nullptr;  // the session's options keep it
  Status* status = api.make_domain("fusedlstm", &domain);
  if (status == nullptr) status = api.add_operator(domain, &lstm);
  return status == nullptr ? api.add_domain(options, domain) : status;
}
