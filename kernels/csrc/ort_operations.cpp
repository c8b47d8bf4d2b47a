// ONNX Runtime loads the extension as a library of operations, and calls this.
#include "ort_operations.hpp"

#include "ort.hpp"

extern "C" __attribute__((visibility("default"))) chiasm::ort::Status *RegisterCustomOps(chiasm::ort::SessionOptions *options,
                                                                                         const chiasm::ort::Base *base) {
    using namespace chiasm;
    const ort::Table table = base->table(ort::version);
    if (!table) return nullptr;  // an older one: it will say that it does not know the operations
    return ort::status_of(table, [&] {
        static ort::Domain *const domain = [&] {  // for as long as the process lives
            ort::Domain *made = nullptr;
            ort::check(ort::CreateDomain::call(table, "chiasm", &made));
            for (const ort::Operation *each : {&product_of_floats(), &product_of_bytes(), &attention()})
                ort::check(ort::AddOperation::call(table, made, each));
            return made;
        }();
        ort::check(ort::AddDomain::call(table, options, domain));
    });
}
