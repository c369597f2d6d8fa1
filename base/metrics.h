// Metrics of a process or of one component in it, shown in Prometheus' text form.
//
// A registry owns families (one name, one help text, one type); a family owns one
// instrument for each set of labels. Components hold references to instruments and
// update them without locks; the daemon prints the registry on GET /metrics.
//
//   MetricRegistry registry;
//   Counter& puts = registry.GetCounter("kv_puts_total", "Puts served.", {{"result", "ok"}});
//   puts.Increment();
//   response.body = registry.Text();  // Content-Type: kMetricsContentType
//
// Names end in the unit: `_seconds`, `_bytes`, `_total`. At most ten values a label by
// design; never a key, a path, an address or other text that users choose.
//
// Threading: everything here is thread-safe. A reference stays valid as long as the registry.
#ifndef KEELSON_BASE_METRICS_H_
#define KEELSON_BASE_METRICS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace keelson {

// The content type of MetricRegistry::Text, exposition format 0.0.4.
inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// Label names and values, in the order shown.
using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// A count of things that only grows. Wait-free.
class Counter {
 public:
  void Increment(uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// A value that goes up and down. Lock-free.
class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double delta) { value_.fetch_add(delta, std::memory_order_relaxed); }
  [[nodiscard]] double Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// Counts observations in buckets with inclusive upper bounds, and sums them. Lock-free.
class Histogram {
 public:
  // `bounds` are finite and strictly rising; the bucket above the last one is implied.
  explicit Histogram(std::vector<double> bounds);

  void Observe(double value);

  struct Snapshot {
    std::vector<uint64_t> bucket_counts;  // One a bound, then the one above; not cumulative.
    uint64_t count = 0;                   // The sum of bucket_counts.
    double sum = 0;  // May run ahead of or behind `count` by updates in flight.
  };
  [[nodiscard]] Snapshot Read() const;
  [[nodiscard]] const std::vector<double>& bounds() const { return bounds_; }

 private:
  const std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> buckets_;  // bounds_.size() + 1
  std::atomic<double> sum_{0};
};

// `count` bounds: start, start * factor, start * factor^2 ...
// Disk and request times use (0.001, 2, 14), peer round trips (0.0001, 2, 16).
std::vector<double> ExponentialBuckets(double start, double factor, size_t count);

class MetricRegistry {
 public:
  MetricRegistry();
  ~MetricRegistry();
  MetricRegistry(const MetricRegistry&) = delete;
  MetricRegistry& operator=(const MetricRegistry&) = delete;

  // Returns the instrument of this name and these labels; makes it (with value 0) on
  // first use. It takes a lock, so keep the reference where the path is hot.
  //
  // A bad name or label, or a name used with two types or, for histograms, with two lists
  // of bounds, is an error of the program and aborts. The first help text wins.
  Counter& GetCounter(std::string_view name, std::string_view help,
                      const MetricLabels& labels = {});
  Gauge& GetGauge(std::string_view name, std::string_view help, const MetricLabels& labels = {});
  Histogram& GetHistogram(std::string_view name, std::string_view help,
                          const std::vector<double>& bounds, const MetricLabels& labels = {});

  // `read` is asked for the value whenever Text runs: on the thread of the caller of Text,
  // without locks of the registry held, possibly several times at once. It must stay callable
  // as long as the registry or until the same name and labels are given a new `read`, which replaces it.
  using Callback = std::function<double()>;
  void SetCallbackGauge(std::string_view name, std::string_view help, const MetricLabels& labels,
                        Callback read);
  // The same for a value that only grows, such as seconds of CPU time.
  void SetCallbackCounter(std::string_view name, std::string_view help, const MetricLabels& labels,
                          Callback read);

  // Everything in exposition format 0.0.4: families by name, instruments by labels.
  [[nodiscard]] std::string Text() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

// Registers process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds,
// process_max_fds and process_start_time_seconds, read from /proc when asked for. What
// /proc does not tell shows as NaN.
void RegisterProcessMetrics(MetricRegistry& registry);

}  // namespace keelson

#endif  // KEELSON_BASE_METRICS_H_
