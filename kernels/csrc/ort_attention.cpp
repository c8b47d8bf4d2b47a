// Attention as an operation of ONNX Runtime: "chiasm::Attention" (queries, keys, values, mask). The first three have rows of heads side by
// side, in whatever shape, which the attributes `batch`, `queries`, `keys`, `heads` and `depth` say; one of rows and heads may be -1, and
// follows from the size. The mask, which may be missing, is added to the scores, times `scale`: (batch, heads, queries, keys), or what
// broadcasts to that. It gives (batch, queries, heads · depth).
#include "attention.hpp"

#include <algorithm>

#include "ort.hpp"
#include "ort_operations.hpp"

namespace chiasm {
namespace {

using ort::Table;

struct Kernel {
    Table table;
    std::int64_t batch, queries, keys, heads, depth;  // -1: follows from the size
    float scale;
};

std::int64_t size_of(Table table, const ort::Value *value) {
    std::int64_t size = 1;
    for (const std::int64_t each : ort::sizes_of(table, value)) size *= each;
    return size;
}

// A factor of a size, given or what the others leave.
std::size_t factor(std::int64_t given, std::int64_t size, std::int64_t others) {
    const std::int64_t found = given > 0 ? given : size / std::max<std::int64_t>(1, others);
    if (found < 1 || found * others != size) throw std::invalid_argument("queries, keys and values do not fit the heads of an attention");
    return static_cast<std::size_t>(found);
}

// Strides of the mask along its four axes: 0 where it is the same for all.
void lay(Attention &of, const std::vector<std::int64_t> &mask) {
    const std::size_t wanted[4] = {of.batch, of.heads, of.queries, of.keys};
    std::size_t *const strides[4] = {&of.mask_batch, &of.mask_head, &of.mask_query, &of.mask_key};
    if (mask.size() > 4) throw std::invalid_argument("the mask of an attention has more than four axes");
    std::size_t stride = 1;
    for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t axis = 3 - i, size = i < mask.size() ? static_cast<std::size_t>(mask[mask.size() - 1 - i]) : 1;
        if (size != wanted[axis] && size != 1) throw std::invalid_argument("the mask does not fit its attention");
        *strides[axis] = size == 1 ? 0 : stride;
        stride *= size;
    }
}

void run(const Kernel &kernel, ort::KernelContext *context) {
    const Table table = kernel.table;
    const ort::Value *const q = ort::input(table, context, 0), *const k = ort::input(table, context, 1), *const v = ort::input(table, context, 2);
    std::size_t count = 0;
    ort::check(ort::CountInputs::call(table, context, &count));
    const ort::Value *const mask = count > 3 ? ort::input(table, context, 3) : nullptr;
    const std::int64_t queries = size_of(table, q), keys = size_of(table, k), of_row = kernel.batch * kernel.depth;
    if (size_of(table, v) != keys) throw std::invalid_argument("keys and values of an attention are not of one size");
    Attention made{};
    made.batch = static_cast<std::size_t>(kernel.batch), made.depth = static_cast<std::size_t>(kernel.depth), made.scale = kernel.scale;
    made.heads = factor(kernel.heads, queries, kernel.heads > 0 ? queries / kernel.heads : of_row * kernel.queries);
    const std::int64_t heads = static_cast<std::int64_t>(made.heads);
    made.queries = factor(kernel.queries, queries, of_row * heads);
    made.keys = factor(kernel.keys, keys, of_row * heads);
    made.q = ort::data_of<const float>(table, q), made.k = ort::data_of<const float>(table, k), made.v = ort::data_of<const float>(table, v);
    if (mask) {
        made.mask = ort::data_of<const float>(table, mask);
        lay(made, ort::sizes_of(table, mask));
    }
    made.out = ort::result(table, context, {kernel.batch, static_cast<std::int64_t>(made.queries), heads * kernel.depth});
    ort::Threads threads{table, context};
    made.run(threads.spread());
}

ort::Operation operation() {
    ort::Operation made;
    made.name = [](const ort::Operation *) { return "Attention"; };
    made.provider = [](const ort::Operation *) { return "CPUExecutionProvider"; };
    made.inputs = [](const ort::Operation *) { return std::size_t{4}; };
    made.outputs = [](const ort::Operation *) { return std::size_t{1}; };
    made.input_type = [](const ort::Operation *, std::size_t) { return ort::floats; };
    made.output_type = [](const ort::Operation *, std::size_t) { return ort::floats; };
    made.input_kind = [](const ort::Operation *, std::size_t index) { return index == 3 ? ort::optional : ort::required; };
    made.output_kind = [](const ort::Operation *, std::size_t) { return ort::required; };
    made.input_memory = [](const ort::Operation *, std::size_t) { return 0; };
    made.create = [](const ort::Operation *, Table table, const ort::KernelInfo *info, void **kernel) {
        return ort::status_of(table, [&] {
            auto whole = [&](const char *name) { return ort::whole(table, info, name); };
            const Kernel made{table, whole("batch"), whole("queries"), whole("keys"), whole("heads"), whole("depth"), ort::real(table, info, "scale")};
            if (made.batch < 1 || made.depth < 8 || made.depth % 8 || (made.heads < 1 && made.queries < 1))
                throw std::invalid_argument("an attention needs a batch, a depth in steps of 8, and heads or queries");
            *kernel = new Kernel(made);
        });
    };
    made.compute = [](void *kernel, ort::KernelContext *context) {
        const Kernel &own = *static_cast<Kernel *>(kernel);
        return ort::status_of(own.table, [&] { run(own, context); });
    };
    made.destroy = [](void *kernel) { delete static_cast<Kernel *>(kernel); };
    made.first_version = [](const ort::Operation *) { return 1; };
    made.last_version = [](const ort::Operation *) { return 1; };
    return made;
}

}  // namespace

const ort::Operation &attention() {
    static const ort::Operation made = operation();
    return made;
}

}  // namespace chiasm
