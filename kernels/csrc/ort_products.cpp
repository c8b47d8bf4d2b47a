// Products of bytes as operations of ONNX Runtime: "chiasm::ProductOfFloats" (values, scales, weights, bias) and
// "chiasm::ProductOfBytes" (bytes, scale, zero, scales, weights, bias). Scales, weights and bias are constants; without a bias the attribute
// `biased` is 0. Weights may lie in a file, at an `offset`, and are read from there into their own order: then `file` is its path,
// the graph does not have them, and nobody maps or copies them besides. Else `file` is empty.
#include <fcntl.h>
#include <unistd.h>

#include "ort.hpp"
#include "products.hpp"

namespace chiasm {
namespace {

using ort::Table;

// Rows of a matrix in a file, a few at a time.
class InFile {
  public:
    InFile(const std::string &path, std::int64_t offset, std::size_t columns) : path_(path), at_(offset), columns_(columns) {
        file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (file_ < 0) throw std::runtime_error("cannot open the weights in " + path + "; export the bundle again");
    }
    ~InFile() { close(file_); }
    InFile(const InFile &) = delete;
    InFile &operator=(const InFile &) = delete;

    RowSource rows() {
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
    const ort::Value *scales = ort::constant(table, info, first);
    const ort::Value *bias = ort::whole(table, info, "biased") ? ort::constant(table, info, first + 2) : nullptr;
    const std::string path = ort::text(table, info, "file");
    const ort::Value *weights = path.empty() ? ort::constant(table, info, first + 1) : nullptr;
    const std::vector<std::int64_t> size = weights ? ort::sizes_of(table, weights)
                                                   : std::vector<std::int64_t>{ort::whole(table, info, "depth"), ort::whole(table, info, "columns")};
    const std::vector<std::int64_t> each = {size.size() == 2 ? size[1] : -1};
    if (size.size() != 2 || size[0] < 1 || size[1] < 1 || ort::sizes_of(table, scales) != each || (bias && ort::sizes_of(table, bias) != each))
        throw std::invalid_argument("weights of a product must be (depth, columns), scales and bias (columns)");
    const std::size_t depth = static_cast<std::size_t>(size[0]), columns = static_cast<std::size_t>(size[1]);
    const float *each_scale = ort::data_of<const float>(table, scales), *each_bias = bias ? ort::data_of<const float>(table, bias) : nullptr;
    if (weights) return Product(ort::data_of<const std::int8_t>(table, weights), depth, columns, each_scale, each_bias);
    InFile file(path, ort::whole(table, info, "offset"), columns);
    return Product(file.rows(), depth, columns, each_scale, each_bias);
}

struct Kernel {
    Table table;
    Product product;
};

template <bool of_floats>
void run(const Kernel &kernel, ort::KernelContext *context) {
    const Table table = kernel.table;
    const ort::Value *values = ort::input(table, context, 0);
    std::vector<std::int64_t> sizes = ort::sizes_of(table, values);
    const Product &product = kernel.product;
    if (sizes.empty() || sizes.back() != static_cast<std::int64_t>(product.depth()))
        throw std::invalid_argument("the last axis of what is multiplied is not as long as the weights are deep");
    std::size_t rows = 1;
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) rows *= static_cast<std::size_t>(sizes[i]);
    sizes.back() = static_cast<std::int64_t>(product.columns());
    float *out = ort::result(table, context, sizes);
    ort::Threads threads{table, context};
    if constexpr (of_floats) {
        product.of_floats(ort::data_of<const float>(table, values), rows, out, threads.spread());
    } else {
        const float scale = *ort::data_of<const float>(table, ort::input(table, context, 1));
        const std::uint8_t zero = *ort::data_of<const std::uint8_t>(table, ort::input(table, context, 2));
        product.of_bytes(ort::data_of<const std::uint8_t>(table, values), scale, zero, rows, out, threads.spread());
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
        return ort::status_of(table, [&] { *kernel = new Kernel{table, product_of(table, info, first)}; });
    };
    made.compute = [](void *kernel, ort::KernelContext *context) {
        const Kernel &own = *static_cast<Kernel *>(kernel);
        return ort::status_of(own.table, [&] { run<of_floats>(own, context); });
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
    return ort::status_of(table, [&] {
        static const ort::Operation of_floats = operation<true>(), of_bytes = operation<false>();
        static ort::Domain *const domain = [&] {  // for as long as the process lives
            ort::Domain *made = nullptr;
            ort::check(ort::CreateDomain::call(table, "chiasm", &made));
            ort::check(ort::AddOperation::call(table, made, &of_floats));
            ort::check(ort::AddOperation::call(table, made, &of_bytes));
            return made;
        }();
        ort::check(ort::AddDomain::call(table, options, domain));
    });
}
