// The few parts of ONNX Runtime's C interface that an operation of one's own needs. Its functions are entries of one table that only
// ever grows; what is here holds from version 1.17 on, and an older ONNX Runtime gives no table for it.
// https://onnxruntime.ai/docs/api/c/struct_ort_api.html
#pragma once

#include <cstddef>
#include <cstdint>

namespace chiasm::ort {

struct Status;
struct SessionOptions;
struct Domain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct Shape;

using Table = const void *const *;

struct Base {
    Table (*table)(std::uint32_t version);
    const char *(*version)();
};

constexpr std::uint32_t version = 17;
constexpr int failed = 1;          // OrtErrorCode: ORT_FAIL
constexpr int floats = 1, ubytes = 2, bytes = 3;  // ONNXTensorElementDataType
constexpr int required = 0, optional = 1;         // OrtCustomOpInputOutputCharacteristic

// Entries of the table.
template <std::size_t place, typename... Arguments>
struct Entry {
    static Status *call(Table table, Arguments... arguments) {
        return reinterpret_cast<Status *(*)(Arguments...)>(const_cast<void *>(table[place]))(arguments...);
    }
};
template <std::size_t place, typename Object>
struct Release {
    static void call(Table table, Object *object) { reinterpret_cast<void (*)(Object *)>(const_cast<void *>(table[place]))(object); }
};
using CreateStatus = Entry<0, int, const char *>;
using CreateDomain = Entry<26, const char *, Domain **>;
using AddOperation = Entry<27, Domain *, const struct Operation *>;
using AddDomain = Entry<28, SessionOptions *, Domain *>;
using GetData = Entry<51, Value *, void **>;
using GetRank = Entry<61, const Shape *, std::size_t *>;
using GetSizes = Entry<62, const Shape *, std::int64_t *, std::size_t>;
using GetShape = Entry<65, const Value *, Shape **>;
using GetWhole = Entry<86, const KernelInfo *, const char *, std::int64_t *>;
using GetText = Entry<87, const KernelInfo *, const char *, char *, std::size_t *>;
using GetInput = Entry<90, const KernelContext *, std::size_t, const Value **>;
using GetOutput = Entry<91, KernelContext *, std::size_t, const std::int64_t *, std::size_t, Value **>;
using ReleaseShape = Release<99, Shape>;
using GetConstant = Entry<249, const KernelInfo *, std::size_t, int *, const Value **>;
using ParallelFor = Entry<274, const KernelContext *, void (*)(void *, std::size_t), std::size_t, std::size_t, void *>;

// OrtCustomOp, as of version 17.
struct Operation {
    std::uint32_t version_of_this = version;
    void *(*create_without_status)(const Operation *, Table, const KernelInfo *) = nullptr;
    const char *(*name)(const Operation *) = nullptr;
    const char *(*provider)(const Operation *) = nullptr;
    int (*input_type)(const Operation *, std::size_t) = nullptr;
    std::size_t (*inputs)(const Operation *) = nullptr;
    int (*output_type)(const Operation *, std::size_t) = nullptr;
    std::size_t (*outputs)(const Operation *) = nullptr;
    void (*compute_without_status)(void *, KernelContext *) = nullptr;
    void (*destroy)(void *) = nullptr;
    int (*input_kind)(const Operation *, std::size_t) = nullptr;
    int (*output_kind)(const Operation *, std::size_t) = nullptr;
    int (*input_memory)(const Operation *, std::size_t) = nullptr;
    int (*least_variadic_inputs)(const Operation *) = nullptr;
    int (*variadic_inputs_alike)(const Operation *) = nullptr;
    int (*least_variadic_outputs)(const Operation *) = nullptr;
    int (*variadic_outputs_alike)(const Operation *) = nullptr;
    Status *(*create)(const Operation *, Table, const KernelInfo *, void **) = nullptr;
    Status *(*compute)(void *, KernelContext *) = nullptr;
    Status *(*infer_shape)(const Operation *, void *) = nullptr;
    int (*first_version)(const Operation *) = nullptr;
    int (*last_version)(const Operation *) = nullptr;
};

}  // namespace chiasm::ort
