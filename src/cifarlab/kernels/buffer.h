// Memory on a cache line's boundary.

#pragma once

#include <immintrin.h>
#include <cstdint>

namespace {

struct Buffer {
    uint32_t* words;
    explicit Buffer(long size) : words((uint32_t*)_mm_malloc(size * sizeof(uint32_t), 64)) {}
    ~Buffer() { _mm_free(words); }
    Buffer(const Buffer&) = delete;
};

}  // namespace
