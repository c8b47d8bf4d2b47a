// Products of bytes as operations of ONNX Runtime: "chiasm::ProductOfFloats" (values, scales, weights, bias) and
// "chiasm::ProductOfBytes" (bytes, scale, zero, scales, weights, bias). Scales, weights and bias are constants; without a bias the attribute
// `biased` is 0. Weights may lie in a file, at an `offset`, and are read from there into their own order: then `file` is its path,
// the graph does not have them, and nobody maps or copies them besides. Else `file` is empty.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "ort_abi.hpp"
#include "products.hpp"

namespace chiasm {
namespace {

using ort::Table;

// An ONNX Runtime's refusal on its way through C++.
struct Refused {
    ort::Status *status;
};

void check(ort::Status *status) {
    if (status) throw Refused{status};
}

// What a function throws as a status; null where it throws nothing.
template <typename Function>
ort::Status *status_of(Table table, const Function &function) {
    try {
        function();
        return nullptr;
    } catch (const Refused &refused) {
        return refused.status;
    } catch (const std::exception &error) {
        return ort::CreateStatus::call(table, ort::failed, error.what());
    }
}

std::vector<std::int64_t> sizes_of(Table table, const ort::Value *value) {
    ort::Shape *shape = nullptr;
    check(ort::GetShape::call(table, value, &shape));
    std::size_t rank = 0;
    std::vector<std::int64_t> sizes;
    ort::Status *status = ort::GetRank::call(table, shape, &rank);
    if (!status) {
        sizes.resize(rank);
        status = ort::GetSizes::call(table, shape, sizes.data(), rank);
    }
    ort::ReleaseShape::call(table, shape);
    check(status);
    return sizes;
}

template <typename Scalar>
Scalar *data_of(Table table, const ort::Value *value) {
    void *data = nullptr;
    check(ort::GetData::call(table, const_cast<ort::Value *>(value), &data));
    return static_cast<Scalar *>(data);
}

const ort::Value *constant(Table table, const ort::KernelInfo *info, std::size_t index) {
    int is_constant = 0;
    const ort::Value *value = nullptr;
    check(ort::GetConstant::call(table, info, index, &is_constant, &value));
    if (!is_constant) throw std::invalid_argument("weights, scales and bias of a product must be constants");
    return value;
}

std::int64_t whole(Table table, const ort::KernelInfo *info, const char *name) {
    std::int64_t value = 0;
    check(ort::GetWhole::call(table, info, name, &value));
    return value;
}

std::string text(Table table, const ort::KernelInfo *info, const char *name) {
    std::size_t size = 0;
    check(ort::GetText::call(table, info, name, nullptr, &size));
    std::string value(size, '\0');
    check(ort::GetText::call(table, info, name, value.data(), &size));
    value.resize(size - 1);  // without the zero at its end
    return value;
}

// Rows of a matrix in a file, a few at a time.
class InFile {
  public:
    InFile(const std::string &path, std::int64_t offset, std::size_t columns) : path_(path), at_(offset), columns_(columns) {
        file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (file_ < 0) throw std::runtime_error("cannot open the weights in " + path);
    }
    ~InFile() { close(file_); }
    InFile(const InFile &) = delete;
    InFile &operator=(const InFile &) = delete;

    Rows rows() {
        return {[](void *context, std::size_t count) { return static_cast<InFile *>(context)->next(count); }, this};
    }

  private:
    const std::int8_t *next(std::size_t count) {
        kept_.resize(count * columns_);
        for (std::size_t done = 0; done < kept_.size();) {
            const ssize_t got = pread(file_, kept_.data() + done, kept_.size() - done, static_cast<off_t>(at_));
            if (got <= 0) throw std::runtime_error("the weights in " + path_ + " are cut short; export the bundle again");
            done += static_cast<std::size_t>(got);
            at_ += got;
        }
        return kept_.data();
    }

    std::string path_;
    std::int64_t at_;
    std::size_t columns_;
    int file_;
    std::vector<std::int8_t> kept_;
};

// The product of an operation whose constants begin at an input.
Product product_of(Table table, const ort::KernelInfo *info, std::size_t first) {
    const ort::Value *scales = constant(table, info, first);
    const ort::Value *bias = whole(table, info, "biased") ? constant(table, info, first + 2) : nullptr;
    const std::string path = text(table, info, "file");
    const ort::Value *weights = path.empty() ? constant(table, info, first + 1) : nullptr;
    const std::vector<std::int64_t> size = weights ? sizes_of(table, weights)
                                                   : std::vector<std::int64_t>{whole(table, info, "depth"), whole(table, info, "columns")};
    const std::vector<std::int64_t> each = {size.size() == 2 ? size[1] : -1};
    if (size.size() != 2 || size[0] < 1 || size[1] < 1 || sizes_of(table, scales) != each || (bias && sizes_of(table, bias) != each))
        throw std::invalid_argument("weights of a product must be (depth, columns), scales and bias (columns)");
    const std::size_t depth = static_cast<std::size_t>(size[0]), columns = static_cast<std::size_t>(size[1]);
    const float *each_scale = data_of<const float>(table, scales), *each_bias = bias ? data_of<const float>(table, bias) : nullptr;
    if (weights) return Product(data_of<const std::int8_t>(table, weights), depth, columns, each_scale, each_bias);
    InFile file(path, whole(table, info, "offset"), columns);
    return Product(file.rows(), depth, columns, each_scale, each_bias);
}

struct Kernel {
    Table table;
    Product product;
};

struct Threads {
    Table table;
    ort::KernelContext *context;
    static void spread(void *self, void (*work)(void *, std::size_t), std::size_t total, void *data) {
        const Threads &threads = *static_cast<Threads *>(self);
        check(ort::ParallelFor::call(threads.table, threads.context, work, total, 0, data));
    }
};

const ort::Value *input(const Kernel &kernel, ort::KernelContext *context, std::size_t index) {
    const ort::Value *value = nullptr;
    check(ort::GetInput::call(kernel.table, context, index, &value));
    return value;
}

template <bool of_floats>
void run(const Kernel &kernel, ort::KernelContext *context) {
    const Table table = kernel.table;
    const ort::Value *values = input(kernel, context, 0);
    std::vector<std::int64_t> sizes = sizes_of(table, values);
    const Product &product = kernel.product;
    if (sizes.empty() || sizes.back() != static_cast<std::int64_t>(product.depth()))
        throw std::invalid_argument("the last axis of what is multiplied is not as long as the weights are deep");
    std::size_t rows = 1;
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) rows *= static_cast<std::size_t>(sizes[i]);
    sizes.back() = static_cast<std::int64_t>(product.columns());
    ort::Value *result = nullptr;
    check(ort::GetOutput::call(table, context, 0, sizes.data(), sizes.size(), &result));
    float *out = data_of<float>(table, result);
    Threads threads{table, context};
    const Spread spread{&Threads::spread, &threads};
    if constexpr (of_floats) {
        product.of_floats(data_of<const float>(table, values), rows, out, spread);
    } else {
        const float scale = *data_of<const float>(table, input(kernel, context, 1));
        const std::uint8_t zero = *data_of<const std::uint8_t>(table, input(kernel, context, 2));
        product.of_bytes(data_of<const std::uint8_t>(table, values), scale, zero, rows, out, spread);
    }
}

template <bool of_floats>
ort::Operation operation() {
    constexpr std::size_t first = of_floats ? 1 : 3;  // constant: the scales
    ort::Operation made;
    made.name = [](const ort::Operation *) { return of_floats ? "ProductOfFloats" : "ProductOfBytes"; };
    made.provider = [](const ort::Operation *) { return "CPUExecutionProvider"; };
    made.inputs = [](const ort::Operation *) { return first + 3; };
    made.outputs = [](const ort::Operation *) { return std::size_t{1}; };
    made.input_type = [](const ort::Operation *, std::size_t index) {
        if (index == first + 1) return ort::bytes;
        return !of_floats && (index == 0 || index == 2) ? ort::ubytes : ort::floats;
    };
    made.output_type = [](const ort::Operation *, std::size_t) { return ort::floats; };
    made.input_kind = [](const ort::Operation *, std::size_t index) { return index > first ? ort::optional : ort::required; };
    made.output_kind = [](const ort::Operation *, std::size_t) { return ort::required; };
    made.input_memory = [](const ort::Operation *, std::size_t) { return 0; };
    made.create = [](const ort::Operation *, Table table, const ort::KernelInfo *info, void **kernel) {
        return status_of(table, [&] { *kernel = new Kernel{table, product_of(table, info, first)}; });
    };
    made.compute = [](void *kernel, ort::KernelContext *context) {
        const Kernel &own = *static_cast<Kernel *>(kernel);
        return status_of(own.table, [&] { run<of_floats>(own, context); });
    };
    made.destroy = [](void *kernel) { delete static_cast<Kernel *>(kernel); };
    made.first_version = [](const ort::Operation *) { return 1; };
    made.last_version = [](const ort::Operation *) { return 1; };
    return made;
}

}  // namespace
}  // namespace chiasm

// ONNX Runtime looks for this name in a library of operations.
extern "C" __attribute__((visibility("default"))) chiasm::ort::Status *RegisterCustomOps(chiasm::ort::SessionOptions *options,
                                                                                         const chiasm::ort::Base *base) {
    using namespace chiasm;
    const ort::Table table = base->table(ort::version);
    if (!table) return nullptr;  // an older one: it will say that it does not know the operations
    return status_of(table, [&] {
        static const ort::Operation of_floats = operation<true>(), of_bytes = operation<false>();
        static ort::Domain *const domain = [&] {  // for as long as the process lives
            ort::Domain *made = nullptr;
            check(ort::CreateDomain::call(table, "chiasm", &made));
            check(ort::AddOperation::call(table, made, &of_floats));
            check(ort::AddOperation::call(table, made, &of_bytes));
            return made;
        }();
        check(ort::AddDomain::call(table, options, domain));
    });
}
