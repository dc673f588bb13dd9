// Runs cases through the Verilated array with a DDR of a given latency and pace.
//
//     harness CASES RESULTS
//
// CASES: for each case six int32 (k, tiles, latency, cycles a slice, cycles a row, separate), then tiles * k
// slices of ROWS + COLS int8. RESULTS: for each case an int64 of cycles, then tiles * ROWS * COLS int32.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "Vsystolic.h"
#include "verilated.h"

namespace {

struct Case {
    int32_t k, tiles, latency, slice_cycles, row_cycles, separate;
};

constexpr int64_t GIVE_UP = 50'000'000;

// Whether a transfer of the port completes in this cycle, the `count`-th since it was asked for.
bool completes(int64_t count, int latency, int cycles) {
    return count >= latency && (count - latency) % cycles == cycles - 1;
}

void tick(Vsystolic& top) {
    top.clk = 1;
    top.eval();
    top.clk = 0;
    top.eval();
}

int64_t run(Vsystolic& top, const Case& one, const std::vector<int8_t>& slices, std::vector<int32_t>& rows) {
    top.k = one.k;
    top.tiles = one.tiles;
    top.separate = one.separate;
    top.ld_valid = top.st_ready = 0;
    top.clk = 0;
    top.rst = 1;
    tick(top);
    tick(top);
    top.rst = 0;
    int64_t cycle = 0, load_count = 0, store_count = 0;
    size_t slice = 0, row = 0;
    int loads_left = one.k, stores_left = ROWS;
    for (; cycle < GIVE_UP; ++cycle) {
        top.ld_valid = top.st_ready = 0;
        top.eval();
        if (top.done) break;
        if (top.ld_active) {
            top.ld_valid = completes(load_count++, one.latency, one.slice_cycles);
            if (top.ld_valid) {
                std::memcpy(&top.ld_slice, &slices[slice++ * (ROWS + COLS)], ROWS + COLS);
                if (--loads_left == 0) load_count = 0, loads_left = one.k;
            }
        }
        if (top.st_active) {
            top.st_ready = completes(store_count++, one.latency, one.row_cycles);
            if (top.st_ready) {
                std::memcpy(&rows[row++ * COLS], &top.st_row, 4 * COLS);
                if (--stores_left == 0) store_count = 0, stores_left = ROWS;
            }
        }
        top.eval();
        tick(top);
    }
    return cycle;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: harness CASES RESULTS\n"), 2;
    std::unique_ptr<FILE, int (*)(FILE*)> in(std::fopen(argv[1], "rb"), std::fclose);
    std::unique_ptr<FILE, int (*)(FILE*)> out(std::fopen(argv[2], "wb"), std::fclose);
    if (!in || !out) return std::fprintf(stderr, "harness: cannot open the files\n"), 1;
    VerilatedContext context;
    Vsystolic top(&context);
    Case one;
    while (std::fread(&one, sizeof one, 1, in.get()) == 1) {
        std::vector<int8_t> slices(size_t(one.tiles) * one.k * (ROWS + COLS));
        std::vector<int32_t> rows(size_t(one.tiles) * ROWS * COLS);
        if (std::fread(slices.data(), 1, slices.size(), in.get()) != slices.size()) return 1;
        const int64_t cycles = run(top, one, slices, rows);
        if (cycles == GIVE_UP) return std::fprintf(stderr, "harness: the array hangs\n"), 1;
        std::fwrite(&cycles, sizeof cycles, 1, out.get());
        std::fwrite(rows.data(), 4, rows.size(), out.get());
    }
    return 0;
}
