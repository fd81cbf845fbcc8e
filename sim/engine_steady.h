// Neurons of images for which it is proven that nothing overflows and 32 bits are enough (engine_tables.py says when): state in 32-bit
// integers, twice as many in a vector.
//
// The sums are the synaptic currents themselves: they decay at the end of a tick, and what arrives in the next is added to them. A
// neuron that rests has a threshold out of reach until it is released; with `hold` its potential is put back then, and before it is
// read. So what few neurons do at a time is done for these alone.

#pragma once

#include "engine_general.h"

#include <array>
#include <climits>
#include <deque>
#include <utility>

class SteadyNeurons {
public:
    explicit SteadyNeurons(const Tables& tables) : sums(2 * tables.neurons), t(tables), v(t.neurons), bar(t.neurons), resting(t.runs) {}

    Array<int32_t> sums;          // u of every neuron, for each current
    std::vector<int64_t> lanes;   // none

    void clear() {
        std::fill(sums.begin(), sums.end(), 0);
        std::fill(v.begin(), v.end(), 0);
        std::copy(t.theta, t.theta + t.neurons, bar.begin());
        for (std::deque<Rest>& rests : resting) rests.clear();
    }

    // One tick of all neurons; those that spike are added to the list at `found`.
    Stop step(int64_t tick, bool last, int32_t*& found) {
        for (int64_t run = 0; run < t.runs; run++)
            if (tick < t.run_start[run])  // what arrives is lost
                for (const int64_t first : {t.run_first[run], t.neurons + t.run_first[run]})
                    std::fill_n(sums.begin() + first, t.run_count[run], 0);
        if (last) currents = sums;
        for (int64_t run = 0; run < t.runs; run++)
            if (tick >= t.run_start[run]) step_run(run, tick, found);
        return {NOTHING, 0};
    }

    // Potentials that are held go on as if they were not, until they are read or go on in truth.
    void settle() {
        for (int64_t run = 0; run < t.runs; run++)
            if (t.run_hold[run])
                for (const Rest& rest : resting[run]) v[rest.neuron] = rest.potential;
    }

    int64_t potential(int64_t i) const { return v[i]; }

    int64_t current(int64_t i) const { return currents[i]; }

    std::vector<int64_t> refractory(int64_t ticks) const {
        std::vector<int64_t> count(t.neurons);
        for (const std::deque<Rest>& rests : resting)
            for (const Rest& rest : rests) count[rest.neuron] = std::max<int64_t>(0, rest.until - ticks);
        return count;
    }

private:
    // A neuron that may spike again in tick `until`, and its potential.
    struct Rest {
        int64_t until;
        int32_t neuron, potential;
    };

    const Tables& t;
    Array<int32_t> v, bar;                  // bar: thresholds, out of reach of neurons that rest
    Array<int32_t> currents;                // u in the last tick, before its decay
    std::vector<std::deque<Rest>> resting;  // by run, the first to be released first

    void step_run(int64_t run, int64_t tick, int32_t*& found) {
        std::deque<Rest>& rests = resting[run];
        for (; !rests.empty() && rests.front().until <= tick; rests.pop_front()) {
            const Rest& rest = rests.front();
            bar[rest.neuron] = t.theta[rest.neuron];
            if (t.run_hold[run]) v[rest.neuron] = rest.potential;
        }
        int32_t* const before = found;
        (this->*updates(std::make_index_sequence<KINDS>())[kind(run)])(run, found);
        const int64_t period = t.run_refractory[run];
        for (const int32_t* spike = before; spike < found; spike++) {
            const int32_t after = t.run_keep[run] ? v[*spike] - t.reset[*spike] : t.reset[*spike];
            v[*spike] = std::min(std::max(after, int32_t(t.low)), int32_t(t.high));
            if (!period) continue;
            bar[*spike] = INT_MAX;
            rests.push_back({tick + period + 1, *spike, v[*spike]});
        }
    }

    // What an update has to do, a bit each: so that it looks at nothing that a run has not.
    enum Kind { TWO = 1, FLOOR = 2, DECAYS = 4, LEAKS = 8, SIGNS = 16, KINDS = 32 };
    using Update = void (SteadyNeurons::*)(int64_t, int32_t*&);

    int kind(int64_t run) const {
        return (t.run_second[run] ? TWO : 0) | (t.run_floor[run] ? FLOOR : 0) | (t.run_alpha[run] > 0 ? DECAYS : 0)
             | (t.run_beta[run] < 1 ? LEAKS : 0) | (t.run_signs[run] ? SIGNS : 0);
    }

    template <size_t... ALL>
    static std::array<Update, sizeof...(ALL)> updates(std::index_sequence<ALL...>) {
        return {&SteadyNeurons::update<ALL>...};
    }

    // A gain in units of 2^-16, of which it has a whole number. One that is not below 1 is that of a current that is always 0.
    static uint32_t units(double gain) { return gain < 1 ? uint32_t(gain * 65536.0) : 0; }

    // A run's currents and potentials before any reset (golden.py has the equations).
    template <int KIND>
    void update(int64_t run, int32_t*& found) {
        const uint32_t other_units = units(t.run_alpha_second[run]);
        // Rounded toward zero is rounded down where a current is never negative; where it is never positive, it is the current less
        // what it loses, rounded down.
        const Gain alpha(units(t.run_alpha[run])), beta(units(t.run_beta[run]));
        const Gain second(KIND & SIGNS ? 65536 - other_units : other_units);
        const Ints low = Ints{} + int32_t(t.low), high = Ints{} + int32_t(t.high);
        const int64_t first = t.run_first[run], n = t.run_count[run];
        int32_t *const u = &sums[first], *const other_u = &sums[t.neurons + first], *const potential = &v[first];
        const int32_t *const theta = &bar[first], *const bias = t.bias + first, *const floor = t.floor + first;
        int32_t* spike = found;
        const auto reach = [&](int64_t i) {  // a vector's potentials, and which reach their thresholds
            Ints current = load<Ints>(u + i);
            store(u + i, !(KIND & DECAYS) ? Ints{} : KIND & SIGNS ? lowered(current, alpha) : scaled(current, alpha));
            if (KIND & TWO) {
                const Ints other = load<Ints>(other_u + i);
                store(other_u + i, KIND & SIGNS ? other - lowered(other, second) : scaled(other, second));
                current += other;
            }
            const Ints old = load<Ints>(potential + i);
            const Ints sum = (KIND & LEAKS ? scaled(old, beta) : old) + load<Ints>(bias + i) + current;
            const Ints now = smaller(larger(sum, KIND & FLOOR ? load<Ints>(floor + i) : low), high);
            store(potential + i, now);
            return reached(now, load<Ints>(theta + i));
        };
        const auto list = [&](int64_t i, uint32_t some) {
            for (; some; some &= some - 1) *spike++ = int32_t(first + i + __builtin_ctz(some));
        };
        int64_t i = 0;
        for (; i + 2 * INTS <= n; i += 2 * INTS) {  // a branch for two vectors
            const uint32_t some = reach(i);
            list(i, some | reach(i + INTS) << INTS);
        }
        if (i < n) list(i, reach(i));
        found = spike;
    }
};
