// Memory on a cache line's boundary, and asking for memory before it is needed.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int64_t LINE = 64;  // bytes of a cache line

// Memory for `size` values, not set to anything. Not std::vector, with which a library would depend on that of C++.
template <class T> class Array {
public:
    explicit Array(int64_t size) : size(size), all(std::malloc(size * sizeof(T) + LINE)) {
        if (!all) std::abort();
        start = (T*)(((uintptr_t)all + LINE - 1) / LINE * LINE);
    }
    ~Array() { std::free(all); }
    Array(const Array&) = delete;

    T& operator[](int64_t i) const { return start[i]; }

    const int64_t size;
    T* start;

private:
    void* all;
};

// The same, with zeros
template <class T> struct Zeros : Array<T> {
    explicit Zeros(int64_t size) : Array<T>(size) { clear(); }
    void clear() { std::memset(this->start, 0, this->size * sizeof(T)); }
};

// Brings `count` pieces, `bytes` long and `apart` bytes apart, into the caches of this core; WRITE: to be written.
// Always inlined, since compilers take a function that only does this for one without effect.
template <int WRITE>
__attribute__((always_inline)) inline void prefetch(const void* from, int64_t count, int64_t bytes, int64_t apart) {
    for (int64_t i = 0; i < count; ++i)
        for (int64_t k = 0; k < bytes; k += LINE) __builtin_prefetch((const char*)from + i * apart + k, WRITE, 2);
}

// Pieces of memory to be read later, asked for little by little between products, which leave memory idle
class Ahead {
public:
    Ahead() = default;
    Ahead(const Ahead&) = delete;
    ~Ahead() { std::free(pieces); }

    void note(const void* from, const void* to) {
        int64_t lines = ((const char*)to - (const char*)from + LINE - 1) / LINE;
        if (lines <= 0) return;
        if (num == room) {
            room = 2 * room + 64;
            pieces = (Piece*)std::realloc(pieces, room * sizeof(Piece));
            if (!pieces) std::abort();
        }
        pieces[num++] = {(const char*)from, lines};
        all += lines;
    }
    void clear() { num = piece = asked = all = 0; }

    // Of all the lines the first part / parts. Not inlined: products around it lose their registers.
    __attribute__((noinline)) void ask(int64_t part, int64_t parts) {
        for (int64_t until = part * all / parts; asked < until;) {
            Piece& now = pieces[piece];
            int64_t lines = until - asked < now.lines ? until - asked : now.lines;
            for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(now.from + LINE * i, 0, 2);
            now.from += LINE * lines, now.lines -= lines, asked += lines;
            piece += now.lines == 0;
        }
    }

private:
    struct Piece {
        const char* from;
        int64_t lines;
    };
    Piece* pieces = nullptr;
    int64_t num = 0, room = 0, piece = 0, asked = 0, all = 0;
};

}  // namespace
