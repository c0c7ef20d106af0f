// A base, task vectors, their float32 residuals and a product, summed in one pass over memory.
//
//     out = round(base + c_1 T_1 + c_2 T_2 + ... + c_i r_i at the places of r_i + product)
//
// Chunk by chunk in float32, in a buffer that stays in the first-level cache; every product and every
// sum is rounded by itself (compile with -ffp-contract=off), in the order given. A chunk depends on
// nothing outside of it, so neither threads nor the cut of a tensor leave a trace.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t CHUNK = 4096;

struct Numbers {
    void *data;
    int64_t is_wide;  // float32; else bf16
};

struct Term {
    Numbers values;
    double coefficient;
};

struct Residual {
    const int64_t *places;  // ascending, counted from the start of the tensor
    const float *values;
    int64_t count;
    double coefficient;
};

// A range of one tensor: `size` elements, of which the first is element `start` of it.
struct Range {
    Numbers out, base;
    const Term *terms;
    int64_t term_count;
    const Residual *residuals;
    int64_t residual_count;
    const float *product;  // may be null
    int64_t start, size;
};

inline float widened(uint16_t narrow) {
    const uint32_t bits = static_cast<uint32_t>(narrow) << 16;
    float number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

inline float widened(float wide) { return wide; }

// To the nearest, ties to even.
inline uint16_t rounded(float number) {
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    const uint32_t nearest = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    return static_cast<uint16_t>(number != number ? 0x7FC0u : nearest);
}

// Several vectors in one loop: memory is the faster, the more of it is asked for at a time.
template <int COUNT, typename Start>
const Term *sum_of(float *total, const Start *start, const Term *terms, int64_t at, int64_t size) {
    const uint16_t *values[COUNT + 1];
    float coefficients[COUNT + 1];
    for (int k = 0; k < COUNT; ++k) {
        values[k] = static_cast<const uint16_t *>(terms[k].values.data) + at;
        coefficients[k] = static_cast<float>(terms[k].coefficient);
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) {
        float number = widened(start[i]);
        for (int k = 0; k < COUNT; ++k) number += coefficients[k] * widened(values[k][i]);
        total[i] = number;
    }
    return terms + COUNT;
}

// `total = start + ` the bf16 terms ahead, at most four; the first term that is left.
template <typename Start>
const Term *add_ahead(float *total, const Start *start, const Term *terms, const Term *end,
                      int64_t at, int64_t size) {
    int64_t count = 0;
    while (terms + count < end && !terms[count].values.is_wide) ++count;
    if (count >= 4) return sum_of<4>(total, start, terms, at, size);
    if (count == 3) return sum_of<3>(total, start, terms, at, size);
    if (count == 2) return sum_of<2>(total, start, terms, at, size);
    if (count == 1) return sum_of<1>(total, start, terms, at, size);
    return sum_of<0>(total, start, terms, at, size);
}

void add(float *__restrict total, const Term &term, int64_t at, int64_t size) {
    const float coefficient = static_cast<float>(term.coefficient);
    const float *__restrict wide = static_cast<const float *>(term.values.data) + at;
    for (int64_t i = 0; i < size; ++i) total[i] += coefficient * wide[i];
}

void sum_terms(float *total, const Numbers &base, const Term *terms, const Term *end, int64_t at,
               int64_t size) {
    if (base.is_wide) {
        terms = add_ahead(total, static_cast<const float *>(base.data) + at, terms, end, at, size);
    } else {
        terms = add_ahead(total, static_cast<const uint16_t *>(base.data) + at, terms, end, at, size);
    }
    while (terms < end) {
        if (terms->values.is_wide) {
            add(total, *terms++, at, size);
        } else {
            terms = add_ahead(total, total, terms, end, at, size);
        }
    }
}

// What lies before `at` is done with.
void skip(Residual &residual, int64_t at) {
    const int64_t *end = residual.places + residual.count;
    const int64_t before = std::lower_bound(residual.places, end, at) - residual.places;
    residual.places += before;
    residual.values += before;
    residual.count -= before;
}

// Takes what it adds from the residual, whose first place is not before `at`.
void add(float *__restrict total, Residual &residual, int64_t at, int64_t size) {
    const float coefficient = static_cast<float>(residual.coefficient);
    int64_t k = 0;
    for (; k < residual.count && residual.places[k] < at + size; ++k) {
        total[residual.places[k] - at] += coefficient * residual.values[k];
    }
    residual.places += k;
    residual.values += k;
    residual.count -= k;
}

void add(float *__restrict total, const float *__restrict product, int64_t size) {
    for (int64_t i = 0; i < size; ++i) total[i] += product[i];
}

void store(const Numbers &out, const float *__restrict total, int64_t at, int64_t size) {
    if (out.is_wide) {
        std::copy_n(total, size, static_cast<float *>(out.data) + at);
        return;
    }
    uint16_t *__restrict narrow = static_cast<uint16_t *>(out.data) + at;
    for (int64_t i = 0; i < size; ++i) narrow[i] = rounded(total[i]);
}

inline int64_t chunks_of(const Range &range) { return (range.size + CHUNK - 1) / CHUNK; }

}  // namespace

// All ranges in one go: each thread is given as many chunks as the others, one behind the other,
// whatever range they belong to.
extern "C" void sum(const Range *ranges, int64_t count, int threads) {
    int64_t chunks = 0;
    for (int64_t k = 0; k < count; ++k) chunks += chunks_of(ranges[k]);
    // Waking threads would cost more than one chunk's sum.
#pragma omp parallel num_threads(threads) if (chunks > 1)
    {
        const Range *range = ranges;
        int64_t first = 0;            // number of the range's first chunk
        bool entered = false;         // whether this thread is at work on the range
        std::vector<Residual> ahead;  // what is left of the range's residuals
#pragma omp for schedule(static)
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            for (; chunk - first >= chunks_of(*range); ++range) {
                first += chunks_of(*range);
                entered = false;
            }
            const int64_t at = (chunk - first) * CHUNK;
            const int64_t size = std::min(CHUNK, range->size - at);
            if (!entered) {
                ahead.assign(range->residuals, range->residuals + range->residual_count);
                for (Residual &residual : ahead) skip(residual, range->start + at);
                entered = true;
            }
            alignas(64) float total[CHUNK];
            sum_terms(total, range->base, range->terms, range->terms + range->term_count, at, size);
            for (Residual &residual : ahead) add(total, residual, range->start + at, size);
            if (range->product) add(total, range->product + at, size);
            store(range->out, total, at, size);
        }
    }
}
