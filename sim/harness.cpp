// The simulated array behind a plain C interface: one call per packet, so that Python costs nothing per cycle.
// Every instance has a Verilator context of its own; different instances may run in different threads.
// Numbers that Python must know too (results of calls, layout of the counts) stand in sim/compiled.py as well.

#include "Vspikeloom.h"
#include "verilated.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace {

enum Outcome : int { DONE = 0, STALLED = 1, UNSTABLE = 2, EARLY = 3, ENDLESS = 4 };

// Driven on data lines while valid is low, so that a design that looks at them then is found out.
constexpr uint64_t JUNK = 0xdeadbeefcafef00dULL;
// AXI asks for at least 16 cycles of reset.
constexpr int RESET_CYCLES = 16;
// Words of an answer: four times the packets that the driver asks for. A broken design may send for ever.
constexpr size_t MOST_WORDS = size_t{1} << 24;

// xorshift64*: pauses need no better, and repeat everywhere from the same seed.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 0x2545f4914f6cdd1dULL) {
        if (state_ == 0) state_ = 1;
    }
    // True with the probability threshold / 2^32.
    bool hit(uint64_t threshold) {
        if (threshold == 0) return false;
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return ((state_ * 0x2545f4914f6cdd1dULL) >> 32) < threshold;
    }

private:
    uint64_t state_;
};

uint64_t threshold(double probability) { return static_cast<uint64_t>(probability * 4294967296.0); }

class Simulation {
public:
    Simulation(uint64_t seed, bool random_start, double source_pause, double sink_pause, uint64_t limit)
        : random_(seed), source_pause_(threshold(source_pause)), sink_pause_(threshold(sink_pause)), limit_(limit) {
        const std::string start = "+random_start=" + std::to_string(seed % 0x7fffffff);
        const char* arguments[] = {"spikeloom", start.c_str()};
        context_.commandArgs(random_start ? 2 : 1, arguments);
        Verilated::threadContextp(&context_);  // whose arguments the initial blocks read
        top_ = std::make_unique<Vspikeloom>(&context_, "spikeloom");
        quiet();
        top_->aresetn = 0;
        for (int i = 0; i < RESET_CYCLES; ++i) cycle();
        top_->aresetn = 1;
        cycle();
    }
    ~Simulation() { top_->final(); }

    int exchange(const uint64_t* words, size_t count) {
        output_.clear();
        sent_ = 0;
        bool valid = false, waiting = false;
        uint64_t held = 0, idle = 0;
        int outcome = STALLED;
        while (idle < limit_) {
            valid = valid || (sent_ < count && !random_.hit(source_pause_));
            top_->s_axis_tvalid = valid;
            top_->s_axis_tdata = valid ? words[sent_] : JUNK;
            top_->s_axis_tlast = valid && sent_ + 1 == count;
            top_->m_axis_tready = !random_.hit(sink_pause_);
            settle();
            const bool took = valid && top_->s_axis_tready;
            const bool got = top_->m_axis_tvalid && top_->m_axis_tready;
            const uint64_t data = top_->m_axis_tdata;
            const bool last = top_->m_axis_tlast;
            if (waiting && (!top_->m_axis_tvalid || data != held || last != held_last_)) {
                outcome = UNSTABLE;
                break;
            }
            waiting = top_->m_axis_tvalid && !got;
            held = data;
            held_last_ = last;
            edge();
            idle = took || got ? 0 : idle + 1;
            if (took) {
                ++sent_;
                valid = false;
            }
            if (got) {
                output_.push_back(data);
                if (last) {
                    outcome = sent_ == count ? DONE : EARLY;
                    break;
                }
                if (output_.size() == MOST_WORDS) {
                    outcome = ENDLESS;
                    break;
                }
            }
        }
        quiet();
        return outcome;
    }

    int write_register(uint32_t address, uint32_t value, uint32_t* response) {
        bool aw = false, w = false, aw_done = false, w_done = false;
        for (uint64_t i = 0; i < limit_; ++i) {
            aw = !aw_done && (aw || !random_.hit(source_pause_));
            w = !w_done && (w || !random_.hit(source_pause_));
            top_->s_axi_awvalid = aw;
            top_->s_axi_awaddr = aw ? address : static_cast<uint8_t>(JUNK);
            top_->s_axi_wvalid = w;
            top_->s_axi_wdata = w ? value : static_cast<uint32_t>(JUNK);
            top_->s_axi_wstrb = w ? 0xf : 0;
            top_->s_axi_bready = !random_.hit(sink_pause_);
            settle();
            const bool answered = top_->s_axi_bvalid && top_->s_axi_bready;
            aw_done = aw_done || (aw && top_->s_axi_awready);
            w_done = w_done || (w && top_->s_axi_wready);
            *response = top_->s_axi_bresp;
            edge();
            if (answered) {
                quiet();
                return aw_done && w_done ? DONE : EARLY;
            }
        }
        quiet();
        return STALLED;
    }

    int read_register(uint32_t address, uint32_t* value, uint32_t* response) {
        bool ar = false, ar_done = false;
        for (uint64_t i = 0; i < limit_; ++i) {
            ar = !ar_done && (ar || !random_.hit(source_pause_));
            top_->s_axi_arvalid = ar;
            top_->s_axi_araddr = ar ? address : static_cast<uint8_t>(JUNK);
            top_->s_axi_rready = !random_.hit(sink_pause_);
            settle();
            const bool answered = top_->s_axi_rvalid && top_->s_axi_rready;
            ar_done = ar_done || (ar && top_->s_axi_arready);
            *value = top_->s_axi_rdata;
            *response = top_->s_axi_rresp;
            edge();
            if (answered) {
                quiet();
                return ar_done ? DONE : EARLY;
            }
        }
        quiet();
        return STALLED;
    }

    const std::vector<uint64_t>& output() const { return output_; }
    size_t sent() const { return sent_; }
    uint64_t clock() const { return clock_; }

    void wait(uint64_t cycles) {
        for (uint64_t i = 0; i < cycles; ++i) cycle();
    }

private:
    void quiet() {
        top_->s_axis_tvalid = 0;
        top_->s_axis_tdata = JUNK;
        top_->s_axis_tlast = 0;
        top_->m_axis_tready = 0;
        top_->s_axi_awvalid = 0;
        top_->s_axi_awaddr = 0;
        top_->s_axi_awprot = 0;
        top_->s_axi_wvalid = 0;
        top_->s_axi_wdata = 0;
        top_->s_axi_wstrb = 0;
        top_->s_axi_bready = 0;
        top_->s_axi_arvalid = 0;
        top_->s_axi_araddr = 0;
        top_->s_axi_arprot = 0;
        top_->s_axi_rready = 0;
    }
    // Inputs are set while the clock is low; outputs are sampled once they have settled, just before the edge.
    void settle() {
        top_->aclk = 0;
        top_->eval();
    }
    void edge() {
        top_->aclk = 1;
        top_->eval();
        ++clock_;
    }
    void cycle() {
        settle();
        edge();
    }

    VerilatedContext context_;
    std::unique_ptr<Vspikeloom> top_;
    Random random_;
    uint64_t source_pause_, sink_pause_, limit_;
    uint64_t clock_ = 0;
    std::vector<uint64_t> output_;
    size_t sent_ = 0;
    bool held_last_ = false;
};

Simulation* self(void* handle) { return static_cast<Simulation*>(handle); }

}  // namespace

extern "C" {

void* spikeloom_open(uint64_t seed, int random_start, double source_pause, double sink_pause, uint64_t limit) {
    return new Simulation(seed, random_start != 0, source_pause, sink_pause, limit);
}

void spikeloom_close(void* handle) { delete self(handle); }

int spikeloom_exchange(void* handle, const uint64_t* words, size_t count) { return self(handle)->exchange(words, count); }

// counts: words sent, words received, clock.
void spikeloom_counts(void* handle, uint64_t* counts) {
    counts[0] = self(handle)->sent();
    counts[1] = self(handle)->output().size();
    counts[2] = self(handle)->clock();
}

// Valid until the next exchange; Python copies it at once.
const uint64_t* spikeloom_output(void* handle) { return self(handle)->output().data(); }

int spikeloom_read(void* handle, uint32_t address, uint32_t* value, uint32_t* response) {
    return self(handle)->read_register(address, value, response);
}

int spikeloom_write(void* handle, uint32_t address, uint32_t value, uint32_t* response) {
    return self(handle)->write_register(address, value, response);
}

void spikeloom_wait(void* handle, uint64_t cycles) { self(handle)->wait(cycles); }

}  // extern "C"
