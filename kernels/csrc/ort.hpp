// What our operations of ONNX Runtime share: its values and attributes in C++, its refusals as exceptions and back, its threads.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "ort_abi.hpp"
#include "products.hpp"

namespace chiasm::ort {

// An ONNX Runtime's refusal on its way through C++.
struct Refused {
    Status *status;
};

inline void check(Status *status) {
    if (status) throw Refused{status};
}

// What a function throws as a status; null where it throws nothing.
template <typename Function>
Status *status_of(Table table, const Function &function) {
    try {
        function();
        return nullptr;
    } catch (const Refused &refused) {
        return refused.status;
    } catch (const std::exception &error) {
        return CreateStatus::call(table, failed, error.what());
    }
}

inline std::vector<std::int64_t> sizes_of(Table table, const Value *value) {
    Shape *shape = nullptr;
    check(GetShape::call(table, value, &shape));
    std::size_t rank = 0;
    std::vector<std::int64_t> sizes;
    Status *status = GetRank::call(table, shape, &rank);
    if (!status) {
        sizes.resize(rank);
        status = GetSizes::call(table, shape, sizes.data(), rank);
    }
    ReleaseShape::call(table, shape);
    check(status);
    return sizes;
}

template <typename Scalar>
Scalar *data_of(Table table, const Value *value) {
    void *data = nullptr;
    check(GetData::call(table, const_cast<Value *>(value), &data));
    return static_cast<Scalar *>(data);
}

inline const Value *constant(Table table, const KernelInfo *info, std::size_t index) {
    int is_constant = 0;
    const Value *value = nullptr;
    check(GetConstant::call(table, info, index, &is_constant, &value));
    if (!is_constant) throw std::invalid_argument("scales, weights and bias of a product must be constants");
    return value;
}

inline std::int64_t whole(Table table, const KernelInfo *info, const char *name) {
    std::int64_t value = 0;
    check(GetWhole::call(table, info, name, &value));
    return value;
}

inline std::string text(Table table, const KernelInfo *info, const char *name) {
    std::size_t size = 0;
    check(GetText::call(table, info, name, nullptr, &size));
    std::string value(size, '\0');
    check(GetText::call(table, info, name, value.data(), &size));
    value.resize(size - 1);  // without the zero at its end
    return value;
}

inline const Value *input(Table table, const KernelContext *context, std::size_t index) {
    const Value *value = nullptr;
    check(GetInput::call(table, context, index, &value));
    return value;
}

// The first result, of these sizes.
inline float *result(Table table, KernelContext *context, const std::vector<std::int64_t> &sizes) {
    Value *value = nullptr;
    check(GetOutput::call(table, context, 0, sizes.data(), sizes.size(), &value));
    return data_of<float>(table, value);
}

// The threads of a session.
struct Threads {
    Table table;
    KernelContext *context;

    Spread spread() {
        return {[](void *self, void (*work)(void *, std::size_t), std::size_t total, void *data) {
                    const Threads &own = *static_cast<Threads *>(self);
                    check(ParallelFor::call(own.table, own.context, work, total, 0, data));
                },
                this};
    }
};

}  // namespace chiasm::ort
