#include "mel.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "isa.hpp"
#include "workers.hpp"

#ifdef __x86_64__
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace chiasm {
namespace {

constexpr std::size_t quad = 4;

// Any processor: two doubles, which is a register of SSE2 and of NEON.
namespace plain {
typedef double Real __attribute__((vector_size(16)));
typedef std::uint64_t Bits __attribute__((vector_size(16)));
typedef float Narrow __attribute__((vector_size(8)));
#define CHIASM_TARGET
inline Real spread(double value) { return Real{value, value}; }
inline Real root(Real a) { return Real{__builtin_sqrt(a[0]), __builtin_sqrt(a[1])}; }
#ifdef __aarch64__
inline Real fma(Real a, Real b, Real c) {
    return reinterpret_cast<Real>(vfmaq_f64(reinterpret_cast<float64x2_t>(c), reinterpret_cast<float64x2_t>(a), reinterpret_cast<float64x2_t>(b)));
}
#else
inline Real fma(Real a, Real b, Real c) { return a * b + c; }
#endif
// Four samples of every frame.
inline void four_samples(const float *const *frames, std::size_t i, Real *samples) {
    for (std::size_t j = 0; j < quad; ++j) samples[j] = Real{frames[0][i + j], frames[1][i + j]};
}
#include "fft.inc"
#include "mel.inc"
#undef CHIASM_TARGET
}  // namespace plain

#ifdef __x86_64__
namespace avx2 {
typedef double Real __attribute__((vector_size(32)));
typedef std::uint64_t Bits __attribute__((vector_size(32)));
typedef float Narrow __attribute__((vector_size(16)));
#define CHIASM_TARGET __attribute__((target("avx2,fma")))
CHIASM_TARGET inline Real spread(double value) { return reinterpret_cast<Real>(_mm256_set1_pd(value)); }
CHIASM_TARGET inline Real root(Real a) { return reinterpret_cast<Real>(_mm256_sqrt_pd(reinterpret_cast<__m256d>(a))); }
CHIASM_TARGET inline Real fma(Real a, Real b, Real c) {
    return reinterpret_cast<Real>(_mm256_fmadd_pd(reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b), reinterpret_cast<__m256d>(c)));
}
CHIASM_TARGET inline void four_samples(const float *const *frames, std::size_t i, Real *samples) {
    __m128 columns[quad];
    for (std::size_t lane = 0; lane < quad; ++lane) columns[lane] = _mm_loadu_ps(frames[lane] + i);
    _MM_TRANSPOSE4_PS(columns[0], columns[1], columns[2], columns[3]);
    for (std::size_t j = 0; j < quad; ++j) samples[j] = reinterpret_cast<Real>(_mm256_cvtps_pd(columns[j]));
}
#include "fft.inc"
#include "mel.inc"
#undef CHIASM_TARGET
bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
}  // namespace avx2

namespace avx512 {
typedef double Real __attribute__((vector_size(64)));
typedef std::uint64_t Bits __attribute__((vector_size(64)));
typedef float Narrow __attribute__((vector_size(32)));
#define CHIASM_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
CHIASM_TARGET inline Real spread(double value) { return reinterpret_cast<Real>(_mm512_set1_pd(value)); }
CHIASM_TARGET inline Real root(Real a) { return reinterpret_cast<Real>(_mm512_maskz_sqrt_pd(0xFF, reinterpret_cast<__m512d>(a))); }
CHIASM_TARGET inline Real fma(Real a, Real b, Real c) {
    return reinterpret_cast<Real>(_mm512_fmadd_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b), reinterpret_cast<__m512d>(c)));
}
CHIASM_TARGET inline void four_samples(const float *const *frames, std::size_t i, Real *samples) {
    __m128 low[quad], high[quad];
    for (std::size_t lane = 0; lane < quad; ++lane) {
        low[lane] = _mm_loadu_ps(frames[lane] + i);
        high[lane] = _mm_loadu_ps(frames[quad + lane] + i);
    }
    _MM_TRANSPOSE4_PS(low[0], low[1], low[2], low[3]);
    _MM_TRANSPOSE4_PS(high[0], high[1], high[2], high[3]);
    for (std::size_t j = 0; j < quad; ++j)
        samples[j] = reinterpret_cast<Real>(_mm512_maskz_cvtps_pd(0xFF, _mm256_insertf128_ps(_mm256_castps128_ps256(low[j]), high[j], 1)));
}
#include "fft.inc"
#include "mel.inc"
#undef CHIASM_TARGET
bool supported() { return __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"); }
}  // namespace avx512
#endif

constexpr std::size_t most_lanes = 8, alignment = 64;

// Memory that a thread keeps between calls.
class Scratch {
  public:
    // `size` bytes, aligned for any register.
    void *of(std::size_t size) {
        if (size + alignment > size_) {
            bytes_.reset(new char[size + alignment]);
            size_ = size + alignment;
        }
        const std::size_t at = reinterpret_cast<std::uintptr_t>(bytes_.get()) % alignment;
        return bytes_.get() + (alignment - at) % alignment;
    }

  private:
    std::unique_ptr<char[]> bytes_;
    std::size_t size_ = 0;
};

// Where `length` samples of a frame lie: in the waveform, or with mirrored ends in `copy`.
const float *frame_at(const Waveform &waveform, std::int64_t first, std::int64_t length, float *copy) {
    if (first >= 0 && first + length <= waveform.size) return waveform.samples + first;
    for (std::int64_t i = 0; i < length; ++i) {
        const std::int64_t at = first + i < 0 ? -(first + i) : first + i;
        copy[i] = waveform.samples[at < waveform.size ? at : 2 * (waveform.size - 1) - at];
    }
    return copy;
}

struct Layout {
    std::size_t frame_step, mel_step;
};

// The frames `first` to `last`.
template <typename Real, typename Kernel>
bool run(const Kernel &kernel, const Mel &mel, const Waveform &waveform, std::size_t first, std::size_t last, const Layout &layout, float *out) {
    constexpr std::size_t lanes = sizeof(Real) / sizeof(double);
    static thread_local Scratch scratch;
    const std::size_t reals = mel.reals(), length = mel.length;
    Real *work = static_cast<Real *>(scratch.of(reals * sizeof(Real) + lanes * length * sizeof(float)));
    float *copies = reinterpret_cast<float *>(work + reals);
    bool fine = true;
    for (std::size_t t = first; t < last; t += lanes) {
        const float *frames[lanes];
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            const std::size_t frame = std::min(t + lane, last - 1);  // spare lanes repeat the last frame
            frames[lane] = frame_at(waveform, waveform.start + static_cast<std::int64_t>(frame * mel.hop), static_cast<std::int64_t>(length),
                                    copies + lane * length);
        }
        fine &= kernel(mel, frames, work, std::min(lanes, last - t), layout.frame_step, layout.mel_step, out + t * layout.frame_step);
    }
    return fine;
}

bool some_frames(const Mel &mel, const Waveform &waveform, std::size_t first, std::size_t last, const Layout &layout, float *out) {
#ifdef __x86_64__
    const Isa best = isa();
    if (best >= Isa::avx512 && avx512::supported()) return run<avx512::Real>(avx512::frames_at_once, mel, waveform, first, last, layout, out);
    if (best >= Isa::avx2 && avx2::supported()) return run<avx2::Real>(avx2::frames_at_once, mel, waveform, first, last, layout, out);
#endif
    return run<plain::Real>(plain::frames_at_once, mel, waveform, first, last, layout, out);
}

}  // namespace

Mel::Mel(std::size_t fft_size, std::size_t hop_, const std::vector<double> &window_, double gain)
    : hop(hop_), length(window_.size()), window(window_), factors(fft_size / 2) {
    for (double &value : window) value *= gain * 0.5;
    if (length % 2) window.push_back(0.0);
}

void Mel::add_filter(std::size_t first, std::size_t count, const double *weight) {
    filters.push_back({first, (count + 1) / 2 * 2, weights.size()});
    weights.insert(weights.end(), weight, weight + count);
    if (count % 2) weights.push_back(0.0);
}

bool Waveform::holds(std::size_t frames, std::size_t hop, std::size_t length) const {
    const std::int64_t end = start + static_cast<std::int64_t>((frames - 1) * hop + length);
    return size > 0 && start > -size && end < 2 * size;
}

bool mel_frames(const Mel &mel, const Waveform &waveform, std::size_t frames, bool mels_first, std::size_t threads, float *out) {
    const Layout layout = mels_first ? Layout{1, frames} : Layout{mel.filters.size(), 1};
    std::atomic<bool> fine{true};
    // Small pieces, so that the threads end together, but not so few that waking one takes as long as to make them.
    constexpr std::size_t least = 4 * most_lanes;
    threads = std::max<std::size_t>(1, std::min(threads, frames / least));
    const std::size_t piece = std::max(least, frames / (8 * threads) / most_lanes * most_lanes);
    share_out(frames, piece, threads, [&](std::size_t, std::size_t first, std::size_t last) {
        if (!some_frames(mel, waveform, first, last, layout, out)) fine = false;
    });
    return fine;
}

namespace {

// Side by side, for the compiler to make vectors of.
float greatest(const float *values, std::size_t size) {
    constexpr std::size_t many = 32;
    float most[many];
    std::fill_n(most, many, -std::numeric_limits<float>::infinity());
    std::size_t i = 0;
    for (; i + many <= size; i += many)
        for (std::size_t lane = 0; lane < many; ++lane) most[lane] = values[i + lane] > most[lane] ? values[i + lane] : most[lane];
    for (; i < size; ++i) most[0] = values[i] > most[0] ? values[i] : most[0];
    return *std::max_element(most, most + many);
}

template <typename Scale>
void level_by(float *values, std::size_t size, float least, float mean, const Scale &scale) {
    for (std::size_t i = 0; i < size; ++i) values[i] = scale((values[i] > least ? values[i] : least) - mean);
}

}  // namespace

void level(float *values, std::size_t size, float range, float mean, float std) {
    float least = -std::numeric_limits<float>::infinity();
    if (range < std::numeric_limits<float>::infinity()) least = greatest(values, size) - range;
    int exponent = 0;
    // By a power of two it is the same to the last bit, and faster, to multiply.
    if (std::fabs(std::frexp(std, &exponent)) == 0.5F && std::isnormal(1.0F / std))
        level_by(values, size, least, mean, [factor = 1.0F / std](float value) { return value * factor; });
    else
        level_by(values, size, least, mean, [std](float value) { return value / std; });
}

}  // namespace chiasm
