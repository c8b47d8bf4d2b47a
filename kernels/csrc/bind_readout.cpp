// readout.py's compiled half. It makes Python's objects, so the GIL is kept.
#include <vector>

#include "bind.hpp"

namespace chiasm {
namespace {

using Numbers = Array<const float, 1>;

nb::object made(PyObject *object) {
    if (!object) nb::raise_python_error();
    return nb::steal(object);
}

void put(const nb::object &dict, const nb::object &name, const nb::object &value) {
    if (PyDict_SetItem(dict.ptr(), name.ptr(), value.ptr())) nb::raise_python_error();
}

nb::object number(float value) { return made(PyFloat_FromDouble(static_cast<double>(value))); }

nb::object copied(const Numbers &numbers) {
    const void *bytes = numbers.data();
    return made(PyBytes_FromStringAndSize(static_cast<const char *>(bytes), static_cast<Py_ssize_t>(numbers.nbytes())));
}

std::vector<nb::object> objects(nb::handle tuple) {
    std::vector<nb::object> each;
    for (nb::handle item : nb::cast<nb::tuple>(tuple)) each.push_back(nb::borrow(item));
    return each;
}

Numbers floats(nb::handle array) { return nb::cast<Numbers>(array, false); }

// A head: its name, the share of each label, the labels.
struct Choice {
    nb::object name;
    Numbers shares;
    std::vector<nb::object> labels;
};

// Who weighs in a decision.
struct Voice {
    nb::object name;
    Numbers embedding;
};

class Readout {
  public:
    Readout(const nb::tuple &choices, const nb::tuple &names, const Numbers &weights, const nb::tuple &embeddings) : weights_(weights) {
        for (nb::handle choice : choices) {
            choices_.push_back({nb::borrow(choice[0]), floats(choice[1]), objects(choice[2])});
            const Choice &last = choices_.back();
            if (last.labels.empty() || last.labels.size() != last.shares.size()) throw nb::value_error("a share for each label");
        }
        const std::vector<nb::object> known = objects(names);
        if (known.size() != weights.size() || known.size() != embeddings.size())
            throw nb::value_error("a weight and an embedding for each name");
        for (std::size_t i = 0; i < known.size(); ++i) voices_.push_back({known[i], floats(embeddings[i])});
    }

    nb::object read(const nb::dict &present) const {
        const nb::object scores = made(PyDict_New()), best = made(PyDict_New()), weights = made(PyDict_New()), kept = made(PyDict_New());
        for (const Choice &choice : choices_) {
            put(best, choice.name, choice.labels[greatest(choice)]);
            const nb::object shares = made(PyDict_New());
            for (std::size_t i = 0; i < choice.labels.size(); ++i) put(shares, choice.labels[i], number(choice.shares.data()[i]));
            put(scores, choice.name, shares);
        }
        for (std::size_t i = 0; i < voices_.size(); ++i) {
            const int there = PyDict_Contains(present.ptr(), voices_[i].name.ptr());
            if (there < 0) nb::raise_python_error();
            if (!there) continue;
            put(weights, voices_[i].name, number(weights_.data()[i]));
            put(kept, voices_[i].name, copied(voices_[i].embedding));
        }
        return made(PyTuple_Pack(4, scores.ptr(), best.ptr(), weights.ptr(), kept.ptr()));
    }

  private:
    static std::size_t greatest(const Choice &choice) {
        const float *shares = choice.shares.data();
        std::size_t best = 0;
        double sum = 0.0;
        for (std::size_t i = 0; i < choice.labels.size(); ++i) {
            if (shares[i] > shares[best]) best = i;
            sum += static_cast<double>(shares[i]);
        }
        if (sum > 0.9 && sum < 1.1) return best;  // NaN is neither
        PyErr_SetObject(PyExc_ValueError, choice.name.ptr());
        nb::raise_python_error();
    }

    std::vector<Choice> choices_;
    std::vector<Voice> voices_;
    Numbers weights_;
};

}  // namespace

void bind_readout(nb::module_ &module) {
    nb::class_<Readout>(module, "Readout", "The numbers of a decision, from the buffers that its graphs write into.")
        .def(nb::init<const nb::tuple &, const nb::tuple &, const Numbers &, const nb::tuple &>(), nb::arg("choices"), nb::arg("names"),
             nb::arg("weights").noconvert(), nb::arg("embeddings"),
             nb::sig("def __init__(self, choices: tuple[tuple[str, numpy.typing.NDArray[numpy.float32], tuple[str, ...]], ...], "
                     "names: tuple[str, ...], weights: numpy.typing.NDArray[numpy.float32], "
                     "embeddings: tuple[numpy.typing.NDArray[numpy.float32], ...]) -> None"))
        .def("read", &Readout::read, nb::arg("present"),
             nb::sig("def read(self, present: dict[str, float]) -> "
                     "tuple[dict[str, dict[str, float]], dict[str, str], dict[str, float], dict[str, bytes]]"),
             "Copies of all of them; ValueError with the name of a head without shares.");
}

}  // namespace chiasm
