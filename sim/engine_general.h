// Neurons of any image: state in doubles, every synaptic current looked at, phases, and lanes where accumulators may overflow.
//
// Doubles hold every number here exactly: a state has at most 32 bits and a gain 18, so that a product is below 2^50, and gains are
// factors n / 2^f, so that the product's integral part (trunc) is what rtz leaves. A sum of weights times a power of two is exact too;
// added to a state it may be rounded, but then it is far beyond any state, and is reported as an overflow.

#pragma once

#include "engine_vectors.h"

#include <algorithm>
#include <cstdint>
#include <vector>

// What stopped a sample: in a tick a smaller reason counts first, and of one reason the smaller place.
enum Reason : int64_t { NOTHING = 0, ACCUMULATOR = 1, CURRENT = 2, SECOND_CURRENT = 3 };
struct Stop {
    Reason reason;
    int64_t place;
};

inline bool is_open(const Tables& t, int64_t run, int64_t tick) {
    return (t.run_phases[run] >> (tick % t.period) & 1) && tick >= t.run_start[run];
}

// How far a current lies from the middle of the range of a state: in range that is at most 2^(bits - 1) - 1/2.
template <class Number>
Number off_centre(Number u) {
    const Number middle = u + 0.5;
    return middle < 0 ? -middle : middle;
}

// Sum is int32_t where weights are joined, int64_t where there are lanes.
template <class Sum>
class GeneralNeurons {
public:
    explicit GeneralNeurons(const Tables& tables)
        : sums(2 * tables.neurons), lanes(tables.lanes), t(tables), v(t.neurons), u(t.neurons), second(t.neurons), count(t.neurons) {}

    Array<Sum> sums;  // Σ of every neuron, for each current
    std::vector<int64_t> lanes;

    void clear() {
        std::fill(sums.begin(), sums.end(), Sum(0));
        std::fill(lanes.begin(), lanes.end(), 0);
        for (Array<double>* state : {&v, &u, &second, &count}) std::fill(state->begin(), state->end(), 0.0);
    }

    // One tick of all neurons; those that spike are added to the list at `found`.
    Stop step(int64_t tick, bool, int32_t*& found) {
        if (t.lanes && !join()) return {ACCUMULATOR, overflowing_lane()};
        double worst = 0;
        for (int64_t run = 0; run < t.runs; run++) worst = std::max(worst, is_open(t, run, tick) ? step_run(run, found) : skip_run(run));
        return worst <= off_centre(t.high) ? Stop{NOTHING, 0} : overflowing_current(tick);
    }

    // To be called before potentials are read.
    void settle() {}

    int64_t potential(int64_t i) const { return int64_t(v[i]); }

    // u of a sum's neuron.
    int64_t current(int64_t i) const { return int64_t(i < t.neurons ? u[i] : second[i - t.neurons]); }

    std::vector<int64_t> refractory(int64_t) const { return std::vector<int64_t>(count.begin(), count.end()); }

private:
    const Tables& t;
    Array<double> v, u, second, count;

    bool join() {
        for (const int64_t lane : lanes)
            if (lane >= t.lane_limit || lane < -t.lane_limit) return false;
        for (int64_t i = 0; i < t.slices; i++) sums[t.slice_sum[i]] += Sum(lanes[t.slice_lane[i]] * t.slice_place[i]);
        std::fill(lanes.begin(), lanes.end(), 0);
        return true;
    }

    int64_t overflowing_lane() const {
        return std::find_if(lanes.begin(), lanes.end(), [this](int64_t lane) { return lane >= t.lane_limit || lane < -t.lane_limit; })
             - lanes.begin();
    }

    double step_run(int64_t run, int32_t*& found) {
        const int rests = !t.run_refractory[run] ? 0 : t.run_hold[run] ? 2 : 1;
        if (t.run_second[run])
            return rests == 0 ? update<true, 0>(run, found) : rests == 1 ? update<true, 1>(run, found) : update<true, 2>(run, found);
        return rests == 0 ? update<false, 0>(run, found) : rests == 1 ? update<false, 1>(run, found) : update<false, 2>(run, found);
    }

    // One tick of a run (golden.py has the equations). RESTS: 0 without refractory period, 1 with, 2 with `hold` too. Returns the
    // largest of off_centre.
    template <bool SECOND, int RESTS>
    double update(int64_t run, int32_t*& found) {
        const double alpha = t.run_alpha[run], beta = t.run_beta[run], scale = t.run_scale[run];
        const double alpha_second = t.run_alpha_second[run], keep = t.run_keep[run] ? 1 : 0, sign = 1 - 2 * keep;
        const Doubles none = {}, low = none + t.low, high = none + t.high, period = none + double(t.run_refractory[run]);
        const Doubles never = none + (t.run_spiking[run] ? 0 : 1e300);
        Doubles worst = {};
        for (int64_t i = t.run_first[run]; i < t.run_first[run] + t.run_count[run]; i += DOUBLES) {
            Doubles current = truncated(doubles(&u[i]) * alpha) + taken(i) * scale;
            store(&u[i], current);
            worst = larger(worst, off_centre(current));
            if (SECOND) {
                const Doubles other = truncated(doubles(&second[i]) * alpha_second) + taken(t.neurons + i) * scale;
                store(&second[i], other);
                worst = larger(worst, off_centre(other));
                current += other;
            }
            const Doubles old = doubles(&v[i]), rest = RESTS ? doubles(&count[i]) : none;
            const Doubles now = smaller(larger(truncated(old * beta) + doubles(t.bias + i) + current, doubles(t.floor + i)), high);
            Masks fires = now >= doubles(t.theta + i) + never;
            if (RESTS) fires &= rest <= none;
            const Doubles next = fires ? smaller(larger(keep * now + sign * doubles(t.reset + i), low), high) : now;
            store(&v[i], RESTS == 2 ? (rest > none ? old : next) : next);
            if (RESTS) store(&count[i], fires ? period : larger(rest - 1.0, none));
            for (uint32_t some = reached(Doubles(fires ? none : none - 1.0), none); some; some &= some - 1)
                *found++ = int32_t(i + __builtin_ctz(some));
        }
        double most = 0;
        for (int i = 0; i < DOUBLES; i++) most = std::max(most, worst[i]);
        return most;
    }

    // Sums as they are; they are 0 afterwards.
    Doubles taken(int64_t first) {
        const Doubles x = doubles(&sums[first]);
        std::memset(&sums[first], 0, DOUBLES * sizeof(Sum));
        return x;
    }

    // A run outside its phase: what arrives is lost, but a current that would overflow is reported all the same.
    double skip_run(int64_t run) {
        double worst = 0;
        for (int64_t i = t.run_first[run]; i < t.run_first[run] + t.run_count[run]; i++)
            worst = std::max({worst, off_centre(closed_current(run, i, 0)), off_centre(closed_current(run, i, 1))});
        // Where one does, the sums are looked at again for who it was.
        if (worst <= off_centre(t.high))
            for (const int64_t first : {t.run_first[run], t.neurons + t.run_first[run]})
                std::fill_n(sums.begin() + first, t.run_count[run], Sum(0));
        return worst;
    }

    double closed_current(int64_t run, int64_t i, int current) const {
        if (current && !t.run_second[run]) return 0;
        const double old = current ? second[i] * t.run_alpha_second[run] : u[i] * t.run_alpha[run];
        return std::trunc(old) + double(sums[current * t.neurons + i]) * t.run_scale[run];
    }

    Stop overflowing_current(int64_t tick) const {
        for (int current = 0; current < 2; current++) {
            int64_t least = INT64_MAX;
            for (int64_t run = 0; run < t.runs; run++)
                for (int64_t i = t.run_first[run]; i < t.run_first[run] + t.run_count[run]; i++) {
                    const double now = is_open(t, run, tick) ? (current ? second[i] : u[i]) : closed_current(run, i, current);
                    if (off_centre(now) > off_centre(t.high)) least = std::min<int64_t>(least, t.number[i]);
                }
            if (least < INT64_MAX) return {current ? SECOND_CURRENT : CURRENT, least};
        }
        return {NOTHING, 0};
    }
};
