#include "base/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"

namespace keelson {
namespace {

enum class Type { kCounter, kGauge, kHistogram };

std::string_view TypeName(Type type) {
  switch (type) {
    case Type::kCounter:
      return "counter";
    case Type::kGauge:
      return "gauge";
    case Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

bool IsName(std::string_view name, bool colon_allowed) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [colon_allowed](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (c == ':' && colon_allowed);
  });
}

void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

// Shortest digits that read back as the same number.
std::string NumberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), result.ptr);
}

// `a="x",b="y"`, also the key of an instrument in its family.
std::string LabelsText(std::string_view metric, const MetricLabels& labels) {
  std::string out;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto& [name, value] = labels[i];
    KEELSON_CHECK(IsName(name, false)) << "label '" << name << "' of metric " << metric;
    for (size_t j = 0; j < i; ++j) {
      KEELSON_CHECK(labels[j].first != name) << "label '" << name << "' twice in " << metric;
    }
    if (i > 0) out += ',';
    out.append(name).append("=\"");
    AppendEscaped(out, value, true);
    out += '"';
  }
  return out;
}

struct Instrument {
  std::unique_ptr<Counter> counter;
  std::unique_ptr<Gauge> gauge;
  std::unique_ptr<Histogram> histogram;
  std::shared_ptr<const MetricRegistry::Callback> callback;
};

struct Family {
  Type type = Type::kGauge;
  std::string help;
  std::vector<double> bounds;
  std::map<std::string, Instrument> instruments;  // By LabelsText.
};

void AppendSample(std::string& out, std::string_view name, std::string_view suffix,
                  const std::string& labels, std::string_view last_label,
                  const std::string& value) {
  out.append(name).append(suffix);
  if (!labels.empty() || !last_label.empty()) {
    out.append("{").append(labels);
    if (!labels.empty() && !last_label.empty()) out += ',';
    out.append(last_label).append("}");
  }
  out.append(" ").append(value).append("\n");
}

void AppendHistogram(std::string& out, std::string_view name, const std::string& labels,
                     const Histogram& histogram) {
  const Histogram::Snapshot snapshot = histogram.Read();
  uint64_t below = 0;
  for (size_t i = 0; i < snapshot.bucket_counts.size(); ++i) {
    below += snapshot.bucket_counts[i];
    const double bound = i < histogram.bounds().size() ? histogram.bounds()[i]
                                                       : std::numeric_limits<double>::infinity();
    AppendSample(out, name, "_bucket", labels, "le=\"" + NumberText(bound) + "\"",
                 std::to_string(below));
  }
  AppendSample(out, name, "_sum", labels, "", NumberText(snapshot.sum));
  AppendSample(out, name, "_count", labels, "", std::to_string(snapshot.count));
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)),
      buckets_(std::make_unique<std::atomic<uint64_t>[]>(bounds_.size() + 1)) {
  for (size_t i = 0; i < bounds_.size(); ++i) {
    KEELSON_CHECK(std::isfinite(bounds_[i])) << "bound " << i;
    KEELSON_CHECK(i == 0 || bounds_[i - 1] < bounds_[i]) << "bound " << i << " does not rise";
  }
}

void Histogram::Observe(double value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  buckets_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::Read() const {
  Snapshot snapshot;
  snapshot.sum = sum_.load(std::memory_order_relaxed);
  for (size_t i = 0; i <= bounds_.size(); ++i) {
    snapshot.bucket_counts.push_back(buckets_[i].load(std::memory_order_relaxed));
    snapshot.count += snapshot.bucket_counts.back();
  }
  return snapshot;
}

std::vector<double> ExponentialBuckets(double start, double factor, size_t count) {
  KEELSON_CHECK(start > 0 && factor > 1) << "start=" << start << " factor=" << factor;
  std::vector<double> bounds;
  for (double bound = start; bounds.size() < count; bound *= factor) bounds.push_back(bound);
  return bounds;
}

struct MetricRegistry::State {
  mutable absl::Mutex mu;
  std::map<std::string, Family, std::less<>> families ABSL_GUARDED_BY(mu);

  Family& GetFamily(std::string_view name, std::string_view help, Type type)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    KEELSON_CHECK(IsName(name, true)) << "metric name '" << name << "'";
    auto [it, added] = families.try_emplace(std::string(name));
    if (added) {
      it->second.type = type;
      it->second.help = help;
    }
    KEELSON_CHECK(it->second.type == type) << "metric " << name << " has two types";
    return it->second;
  }

  void SetCallback(std::string_view name, std::string_view help, const MetricLabels& labels,
                   Type type, Callback read) ABSL_LOCKS_EXCLUDED(mu) {
    auto callback = std::make_shared<const Callback>(std::move(read));
    absl::MutexLock lock(&mu);
    Instrument& instrument = GetFamily(name, help, type).instruments[LabelsText(name, labels)];
    KEELSON_CHECK(!instrument.counter && !instrument.gauge) << name << " is not a callback";
    instrument.callback.swap(callback);
  }
};

MetricRegistry::MetricRegistry() : state_(std::make_unique<State>()) {}
MetricRegistry::~MetricRegistry() = default;

Counter& MetricRegistry::GetCounter(std::string_view name, std::string_view help,
                                    const MetricLabels& labels) {
  absl::MutexLock lock(&state_->mu);
  Instrument& instrument =
      state_->GetFamily(name, help, Type::kCounter).instruments[LabelsText(name, labels)];
  KEELSON_CHECK(!instrument.callback) << name << " is a callback";
  if (!instrument.counter) instrument.counter = std::make_unique<Counter>();
  return *instrument.counter;
}

Gauge& MetricRegistry::GetGauge(std::string_view name, std::string_view help,
                                const MetricLabels& labels) {
  absl::MutexLock lock(&state_->mu);
  Instrument& instrument =
      state_->GetFamily(name, help, Type::kGauge).instruments[LabelsText(name, labels)];
  KEELSON_CHECK(!instrument.callback) << name << " is a callback";
  if (!instrument.gauge) instrument.gauge = std::make_unique<Gauge>();
  return *instrument.gauge;
}

Histogram& MetricRegistry::GetHistogram(std::string_view name, std::string_view help,
                                        const std::vector<double>& bounds,
                                        const MetricLabels& labels) {
  for (const auto& label : labels) {
    KEELSON_CHECK(label.first != "le") << "label 'le' of " << name << " belongs to the buckets";
  }
  absl::MutexLock lock(&state_->mu);
  Family& family = state_->GetFamily(name, help, Type::kHistogram);
  if (family.instruments.empty()) family.bounds = bounds;
  KEELSON_CHECK(family.bounds == bounds) << "histogram " << name << " has two lists of bounds";
  Instrument& instrument = family.instruments[LabelsText(name, labels)];
  if (!instrument.histogram) instrument.histogram = std::make_unique<Histogram>(bounds);
  return *instrument.histogram;
}

void MetricRegistry::SetCallbackGauge(std::string_view name, std::string_view help,
                                      const MetricLabels& labels, Callback read) {
  state_->SetCallback(name, help, labels, Type::kGauge, std::move(read));
}

void MetricRegistry::SetCallbackCounter(std::string_view name, std::string_view help,
                                        const MetricLabels& labels, Callback read) {
  state_->SetCallback(name, help, labels, Type::kCounter, std::move(read));
}

std::string MetricRegistry::Text() const {
  // Callbacks may take locks of their owners, who may hold them while they ask for an
  // instrument; so they run before our lock is taken for the text.
  std::vector<std::shared_ptr<const Callback>> callbacks;
  {
    absl::MutexLock lock(&state_->mu);
    for (const auto& [name, family] : state_->families) {
      for (const auto& [labels, instrument] : family.instruments) {
        if (instrument.callback) callbacks.push_back(instrument.callback);
      }
    }
  }
  std::map<const Callback*, double> values;
  for (const auto& callback : callbacks) values[callback.get()] = (*callback)();

  std::string out;
  absl::MutexLock lock(&state_->mu);
  for (const auto& [name, family] : state_->families) {
    out.append("# HELP ").append(name).append(" ");
    AppendEscaped(out, family.help, false);
    out.append("\n# TYPE ").append(name).append(" ").append(TypeName(family.type)).append("\n");
    for (const auto& [labels, instrument] : family.instruments) {
      if (instrument.counter) {
        AppendSample(out, name, "", labels, "", std::to_string(instrument.counter->Value()));
      } else if (instrument.gauge) {
        AppendSample(out, name, "", labels, "", NumberText(instrument.gauge->Value()));
      } else if (instrument.histogram) {
        AppendHistogram(out, name, labels, *instrument.histogram);
      } else if (const auto it = values.find(instrument.callback.get()); it != values.end()) {
        AppendSample(out, name, "", labels, "", NumberText(it->second));
      }
    }
  }
  return out;
}

}  // namespace keelson
