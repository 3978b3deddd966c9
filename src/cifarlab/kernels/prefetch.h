// Asks for memory before it is needed. Between products, which leave it idle, so that it need not be waited for later.

#pragma once

namespace {

// Brings a part of `count` pieces, `bytes` long and `apart` bytes apart, into the caches of this core; WRITE: to be
// written. Always inlined, since compilers take a function that only does this for one without effect.
template <int WRITE>
__attribute__((always_inline)) inline void prefetch(const void* from, long count, long bytes, long apart, long part,
                                                    long parts) {
    long first = part * count / parts, last = (part + 1) * count / parts;
    for (long i = first; i < last; ++i)
        for (long k = 0; k < bytes; k += 64) __builtin_prefetch((const char*)from + i * apart + k, WRITE, 2);
}

// The same for `bytes` to be read
__attribute__((always_inline)) inline void prefetch(const void* from, long bytes, long part, long parts) {
    prefetch<0>(from, bytes / 64, 64, 64, part, parts);
}

}  // namespace
