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

void add(float *__restrict total, const Residual &residual, int64_t at, int64_t size) {
    const float coefficient = static_cast<float>(residual.coefficient);
    const int64_t *end = residual.places + residual.count;
    const int64_t *place = std::lower_bound(residual.places, end, at);
    const float *value = residual.values + (place - residual.places);
    for (; place < end && *place < at + size; ++place, ++value) {
        total[*place - at] += coefficient * *value;
    }
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

}  // namespace

// `size` elements, of which the first is element `start` of its tensor; `product` may be null.
extern "C" void sum(const Numbers *out, const Numbers *base, const Term *terms, int64_t term_count,
                    const Residual *residuals, int64_t residual_count, const float *product,
                    int64_t start, int64_t size, int threads) {
    // Of a model's tensors many are one chunk: waking threads would cost more than the sum.
#pragma omp parallel for num_threads(threads) schedule(static) if (size > CHUNK)
    for (int64_t at = 0; at < size; at += CHUNK) {
        alignas(64) float total[CHUNK];
        const int64_t length = std::min(CHUNK, size - at);
        sum_terms(total, *base, terms, terms + term_count, at, length);
        for (int64_t k = 0; k < residual_count; ++k) {
            add(total, residuals[k], start + at, length);
        }
        if (product) add(total, product + at, length);
        store(*out, total, at, length);
    }
}
