// Asks for memory before it is needed. Between products, which leave it idle, so that it need not be waited for later.

#pragma once

#include <vector>

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

// Pieces of memory to be read later, which are asked for little by little
class Ahead {
public:
    void note(const void* from, const void* to) {
        long lines = ((const char*)to - (const char*)from + 63) / 64;
        if (lines <= 0) return;
        pieces.push_back({(const char*)from, lines});
        all += lines;
    }
    void clear() { pieces.clear(), piece = 0, asked = 0, all = 0; }

    // Of all the lines the first part / parts
    __attribute__((always_inline)) inline void ask(long part, long parts) {
        for (long until = part * all / parts; asked < until;) {
            Piece& now = pieces[piece];
            long lines = until - asked < now.lines ? until - asked : now.lines;
            for (long i = 0; i < lines; ++i) __builtin_prefetch(now.from + 64 * i, 0, 2);
            now.from += 64 * lines, now.lines -= lines, asked += lines;
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
