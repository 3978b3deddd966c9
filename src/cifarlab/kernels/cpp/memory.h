// Memory on a cache line's boundary, and asking for memory before it is needed.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace {

constexpr long LINE = 64;  // bytes of a cache line

struct Buffer {
    uint32_t* words;
    explicit Buffer(long size) : words((uint32_t*)std::aligned_alloc(LINE, (4 * size + LINE - 1) / LINE * LINE)) {
        if (!words) throw std::bad_alloc();
    }
    ~Buffer() { std::free(words); }
    Buffer(const Buffer&) = delete;
};

// Brings `count` pieces, `bytes` long and `apart` bytes apart, into the caches of this core; WRITE: to be written.
// Always inlined, since compilers take a function that only does this for one without effect.
template <int WRITE>
__attribute__((always_inline)) inline void prefetch(const void* from, long count, long bytes, long apart) {
    for (long i = 0; i < count; ++i)
        for (long k = 0; k < bytes; k += LINE) __builtin_prefetch((const char*)from + i * apart + k, WRITE, 2);
}

// Pieces of memory to be read later, asked for little by little between products, which leave memory idle
class Ahead {
public:
    void note(const void* from, const void* to) {
        long lines = ((const char*)to - (const char*)from + LINE - 1) / LINE;
        if (lines <= 0) return;
        pieces.push_back({(const char*)from, lines});
        all += lines;
    }
    void clear() { pieces.clear(), piece = 0, asked = 0, all = 0; }

    // Of all the lines the first part / parts. Not inlined: products around it lose their registers.
    __attribute__((noinline)) void ask(long part, long parts) {
        for (long until = part * all / parts; asked < until;) {
            Piece& now = pieces[piece];
            long lines = until - asked < now.lines ? until - asked : now.lines;
            for (long i = 0; i < lines; ++i) __builtin_prefetch(now.from + LINE * i, 0, 2);
            now.from += LINE * lines, now.lines -= lines, asked += lines;
            piece += now.lines == 0;
        }
    }

private:
    struct Piece {
        const char* from;
        long lines;
    };
    std::vector<Piece> pieces;
    long piece = 0, asked = 0, all = 0;
};

}  // namespace
