// The compiled engine: the golden model's ticks over the tables of engine_tables.py, sample by sample, in threads.
//
// `Tables` and `Request` are declared in a header made of engine_tables.TABLES and engine.REQUEST, which the compiler is given first.

#include "engine_general.h"
#include "engine_steady.h"
#include "engine_vectors.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace {

// What a hit of a bundle reads and adds: a line of the table `bundle`.
struct Bundle {
    int32_t reads, useful, rows, rows_end, synapses, synapses_end, digits, digits_end;
};

// Runs samples, one after another.
template <class Neurons>
class Worker {
public:
    Worker(const Tables& tables, const Request& request)
        : t(tables), q(request), neurons(t), fired(t.neurons), rows(t.panel_waiting[t.panels] + 1), next(t.panels), waiting(t.slots),
          steps(q.recorded), injected(t.injected) {
        for (int64_t panel = 0; panel < t.panels; panel++) next[panel] = &rows[t.panel_waiting[panel]];
    }

    void run(int64_t sample) {
        neurons.clear();
        for (std::vector<int32_t>& hits : waiting) hits.clear();
        reading = 0;
        for (int64_t tick = 0; tick < q.ticks; tick++) {
            inject(sample, tick);
            std::vector<int32_t>& hits = waiting[tick % t.slots];
            hit(hits.data(), hits.data() + hits.size());
            hits.clear();
            for (int64_t panel = 0; panel < t.panels; panel++)
                if (next[panel] != &rows[t.panel_waiting[panel]]) add_panel(panel);
            int32_t* found = fired.data();
            const Stop stop = neurons.step(tick, tick == q.ticks - 1, found);
            if (stop.reason) {
                int64_t* out = q.stopped + 3 * sample;
                out[0] = stop.reason, out[1] = tick, out[2] = stop.place;
                stopped = true;
                return;
            }
            send(sample, tick, found - fired.data());
            read(sample, tick);
        }
        if (sample == q.samples - 1) finish();
    }

    int64_t reads = 0, useful = 0;
    bool stopped = false;  // whether any sample did

private:
    const Tables& t;
    const Request& q;
    Neurons neurons;
    std::vector<int32_t> fired;                 // neurons that spike in this tick
    std::vector<int32_t> rows;                  // to add in this tick: those of a panel from panel_waiting[panel] on
    std::vector<int32_t*> next;                 // by panel: the end of what it has there
    std::vector<std::vector<int32_t>> waiting;  // by tick modulo slots: bundles that are hit then
    std::vector<uint8_t*> steps;                // by recorded population: its spikes in this tick's step, or null
    std::vector<int32_t> injected;              // bundles that an input hits in this tick
    int64_t reading = 0;

    // The step of which a tick is the one with this offset; −1 where it is none's.
    int64_t step_of(int64_t tick, int64_t offset) const {
        const int64_t since = tick - offset;
        if (since < 0 || since % t.period) return -1;
        return since / t.period < q.steps ? since / t.period : -1;
    }

    void inject(int64_t sample, int64_t tick) {
        for (int64_t route = 0; route < t.routes; route++) {
            const int64_t step = step_of(tick, t.route_tick[route]);
            if (step < 0) continue;
            const int32_t input = t.route_input[route];
            const int64_t size = q.input_size[input];
            const uint8_t* spikes = static_cast<const uint8_t*>(q.input[input]) + (sample * q.steps + step) * size;
            const int32_t* first = t.route_first + t.route_base[route];
            const int32_t* const bundle = t.route_bundle;
            const int32_t direct = t.route_direct[route], panel = t.route_panel[route];
            if (panel >= 0) {
                inject_rows(spikes, size, reinterpret_cast<const Bundle*>(t.bundle) + direct, panel, t.route_row[route]);
                continue;
            }
            int32_t* hits = injected.data();
            for (int64_t low = 0; low < size; low += 64) {
                __builtin_prefetch(spikes + size + low);  // the next step's
                for (uint64_t bits = packed(spikes + low, std::min<int64_t>(64, size - low)); bits; bits &= bits - 1) {
                    if (direct >= 0) {
                        *hits++ = direct + int32_t(low) + __builtin_ctzll(bits);
                        continue;
                    }
                    const int32_t* neuron = first + low + __builtin_ctzll(bits);
                    for (int32_t i = neuron[0]; i < neuron[1]; i++) *hits++ = bundle[i];
                }
            }
            hit(injected.data(), hits);
        }
    }

    // The same where input neuron i is row first + i of a panel, and nothing else.
    void inject_rows(const uint8_t* spikes, int64_t size, const Bundle* bundles, int32_t panel, int32_t first) {
        int32_t* end = next[panel];
        int64_t more_reads = 0, more_useful = 0;
        for (int64_t low = 0; low < size; low += 64) {
            __builtin_prefetch(spikes + size + low);  // the next step's
            for (uint64_t bits = packed(spikes + low, std::min<int64_t>(64, size - low)); bits; bits &= bits - 1) {
                const int32_t neuron = int32_t(low) + __builtin_ctzll(bits);
                *end++ = first + neuron;
                more_reads += bundles[neuron].reads;
                more_useful += bundles[neuron].useful;
            }
        }
        next[panel] = end;
        reads += more_reads;
        useful += more_useful;
    }

    // What each hit adds: rows are collected, the rest is added at once.
    void hit(const int32_t* hits, const int32_t* end) {
        const Bundle* const all = reinterpret_cast<const Bundle*>(t.bundle);
        const int32_t *const row = t.row, *const synapse = t.synapse, *const digit = t.digit;
        int32_t** const rows_end = next.data();
        auto* const sums = neurons.sums.data();
        int64_t* const lanes = neurons.lanes.data();
        int64_t more_reads = 0, more_useful = 0;
        for (; hits < end; hits++) {
            const Bundle bundle = all[*hits];
            more_reads += bundle.reads;
            more_useful += bundle.useful;
            for (int32_t i = bundle.rows; i < bundle.rows_end; i++) *rows_end[row[2 * i]]++ = row[2 * i + 1];
            for (int32_t i = bundle.synapses; i < bundle.synapses_end; i++) sums[synapse[2 * i]] += synapse[2 * i + 1];
            for (int32_t i = bundle.digits; i < bundle.digits_end; i++) lanes[digit[2 * i]] += digit[2 * i + 1];
        }
        reads += more_reads;
        useful += more_useful;
    }

    void add_panel(int64_t panel) {
        int32_t* own = &rows[t.panel_waiting[panel]];
        const int64_t count = next[panel] - own, most = t.panel_rows[panel], vectors = t.panel_vectors[panel], width = vectors * SHORTS;
        const int shift = t.panel_shift[panel];
        for (int64_t k = 0; k < vectors; k += 4) {
            const int16_t* weights = t.weights + t.panel_base[panel] + k * SHORTS;
            // Only where sums are of 32 bits have panels any rows.
            int32_t* into = reinterpret_cast<int32_t*>(&neurons.sums[t.panel_sum[panel]]) + k * SHORTS;
            switch (vectors - k) {
                case 1: add_rows<1>(weights, width, own, count, most, shift, into); break;
                case 2: add_rows<2>(weights, width, own, count, most, shift, into); break;
                case 3: add_rows<3>(weights, width, own, count, most, shift, into); break;
                default: add_rows<4>(weights, width, own, count, most, shift, into);
            }
        }
        next[panel] = own;
    }

    void send(int64_t sample, int64_t tick, int64_t spikes) {
        for (int64_t p = 0; p < q.recorded; p++) {
            const int64_t step = step_of(tick, q.depth[p]);
            steps[p] = step < 0 ? nullptr : static_cast<uint8_t*>(q.spikes[p]) + (sample * q.steps + step) * q.size[p];
        }
        for (int64_t i = 0; i < spikes; i++) spike(fired[i], tick);
        for (int64_t run = 0; run < t.runs; run++)
            if (t.plane_first[run] < t.plane_first[run + 1] && !t.run_spiking[run] && is_open(t, run, tick)) planes(run, tick);
    }

    void spike(int64_t i, int64_t tick) {
        const int32_t* first = t.spike_first + 2 * i;
        for (const int32_t* send = t.send + 2 * first[0]; send < t.send + 2 * first[2]; send += 2) {
            waiting[(tick + send[0]) % t.slots].push_back(send[1]);
            prefetch(send[1]);
        }
        for (const int32_t* receiver = t.out + 2 * first[1]; receiver < t.out + 2 * first[3]; receiver += 2) mark(receiver);
    }

    // Asks for a bundle's list of synapses, which is soon needed and seldom near.
    void prefetch(int32_t number) const {
        const Bundle& bundle = reinterpret_cast<const Bundle*>(t.bundle)[number];
        for (int32_t i = bundle.synapses; i < bundle.synapses_end; i += 8) __builtin_prefetch(t.synapse + 2 * i);
    }

    void planes(int64_t run, int64_t tick) {
        for (int32_t e = t.plane_first[run]; e < t.plane_first[run + 1]; e++) {
            if (!(neurons.potential(t.plane_neuron[e]) >> t.plane_bit[e] & 1)) continue;
            if (t.plane_delay[e]) waiting[(tick + t.plane_delay[e]) % t.slots].push_back(t.plane_target[e]);
            else mark(t.receiver + 2 * t.plane_target[e]);
        }
    }

    // A recorded spike of a population's neuron.
    void mark(const int32_t* receiver) const {
        uint8_t* step = steps[receiver[0]];
        if (step) step[receiver[1]] = 1;
    }

    // Readings stand by rising tick.
    void read(int64_t sample, int64_t tick) {
        if (reading < q.readings && q.read_tick[reading] == tick) neurons.settle();
        for (; reading < q.readings && q.read_tick[reading] == tick; reading++) {
            const int64_t n = q.read_size[reading];
            int64_t* out = static_cast<int64_t*>(q.read_into[reading]) + sample * q.read_stride[reading];
            const int64_t* place = static_cast<const int64_t*>(q.read_place[reading]);
            for (int64_t i = 0; i < n; i++) out[i] = neurons.potential(place[i]);
        }
    }

    // The last sample's state, for probes, by the golden model's numbers.
    void finish() {
        if (!q.ticks) return;
        neurons.settle();
        const std::vector<int64_t> refractory = neurons.refractory(q.ticks);
        for (int64_t i = 0; i < t.neurons; i++) {
            const int64_t number = t.number[i];
            if (number < 0) continue;
            q.membrane[number] = neurons.potential(i);
            q.current[number] = neurons.current(i);
            q.second_current[number] = neurons.current(t.neurons + i);
            q.refractory[number] = refractory[i];
        }
    }
};

// Shares the samples out among threads. Returns what spikeloom_engine_run does.
template <class Neurons>
int run_all(const Tables& tables, const Request& request) {
    std::atomic<int64_t> next{0}, reads{0}, useful{0};
    std::atomic<bool> sound{true}, stopped{false};
    const auto work = [&] {
        try {
            Worker<Neurons> worker(tables, request);
            for (int64_t sample = next++; sample < request.samples; sample = next++) worker.run(sample);
            if (worker.stopped) stopped = true;
            reads += worker.reads;
            useful += worker.useful;
        } catch (const std::bad_alloc&) {
            sound = false;
        }
    };
    std::vector<std::thread> others;
    try {
        for (int64_t i = 1; i < std::min(request.threads, request.samples); i++) others.emplace_back(work);
    } catch (const std::system_error&) {  // the system gives no more threads: these do it too
    }
    work();
    for (std::thread& other : others) other.join();
    request.counts[0] = reads;
    request.counts[1] = useful;
    return !sound ? 1 : stopped ? 2 : 0;
}

}  // namespace

// Runs all samples of a request. Returns 0, 1 when there is no memory for it, or 2 when a sample stopped.
extern "C" int spikeloom_engine_run(const Tables* tables, const Request* request) {
    return tables->steady ? run_all<SteadyNeurons>(*tables, *request)
         : tables->lanes  ? run_all<GeneralNeurons<int64_t>>(*tables, *request)
                          : run_all<GeneralNeurons<int32_t>>(*tables, *request);
}
