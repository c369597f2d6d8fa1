#include "base/metrics.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <thread>

namespace keelson {
namespace {

TEST_CASE("The text form has help, type and samples in a fixed order", "[metrics][text]") {
  MetricRegistry registry;
  registry.GetCounter("b_total", "Second.", {{"code", "500"}}).Increment(2);
  registry.GetCounter("b_total", "ignored, the first help wins", {{"code", "200"}}).Increment();
  registry.GetGauge("a_ratio", "First.").Set(0.25);
  Histogram& times = registry.GetHistogram("c_seconds", "Third.", {0.5, 1}, {{"op", "put"}});
  times.Observe(0.5);
  times.Observe(0.75);
  times.Observe(4);
  registry.SetCallbackGauge("d_bytes", "Fourth.", {}, [] { return 7.0; });

  CHECK(registry.Text() ==
        "# HELP a_ratio First.\n"
        "# TYPE a_ratio gauge\n"
        "a_ratio 0.25\n"
        "# HELP b_total Second.\n"
        "# TYPE b_total counter\n"
        "b_total{code=\"200\"} 1\n"
        "b_total{code=\"500\"} 2\n"
        "# HELP c_seconds Third.\n"
        "# TYPE c_seconds histogram\n"
        "c_seconds_bucket{op=\"put\",le=\"0.5\"} 1\n"
        "c_seconds_bucket{op=\"put\",le=\"1\"} 2\n"
        "c_seconds_bucket{op=\"put\",le=\"+Inf\"} 3\n"
        "c_seconds_sum{op=\"put\"} 5.25\n"
        "c_seconds_count{op=\"put\"} 3\n"
        "# HELP d_bytes Fourth.\n"
        "# TYPE d_bytes gauge\n"
        "d_bytes 7\n");
}

TEST_CASE("Label values and help texts are escaped", "[metrics][text]") {
  MetricRegistry registry;
  registry.GetGauge("g", "a\\b \"c\"\nd", {{"path", "x\\y \"z\"\nw"}});

  CHECK(registry.Text() ==
        "# HELP g a\\\\b \"c\"\\nd\n"
        "# TYPE g gauge\n"
        "g{path=\"x\\\\y \\\"z\\\"\\nw\"} 0\n");
}

TEST_CASE("Numbers that are not finite have the names of the format", "[metrics][text]") {
  MetricRegistry registry;
  registry.GetGauge("a", "").Set(std::numeric_limits<double>::quiet_NaN());
  registry.GetGauge("b", "").Set(std::numeric_limits<double>::infinity());
  registry.GetGauge("c", "").Set(-std::numeric_limits<double>::infinity());

  const std::string text = registry.Text();
  CHECK(text.find("\na NaN\n") != std::string::npos);
  CHECK(text.find("\nb +Inf\n") != std::string::npos);
  CHECK(text.find("\nc -Inf\n") != std::string::npos);
}

TEST_CASE("One name and one set of labels is one instrument", "[metrics][registry]") {
  MetricRegistry registry;
  Counter& a = registry.GetCounter("n_total", "", {{"x", "1"}});

  CHECK(&registry.GetCounter("n_total", "", {{"x", "1"}}) == &a);
  CHECK(&registry.GetCounter("n_total", "", {{"x", "2"}}) != &a);
}

TEST_CASE("Two registries do not share values", "[metrics][registry]") {
  MetricRegistry first;
  MetricRegistry second;
  first.GetCounter("n_total", "").Increment();

  CHECK(second.GetCounter("n_total", "").Value() == 0);
}

TEST_CASE("A new callback replaces the old one", "[metrics][registry]") {
  MetricRegistry registry;
  registry.SetCallbackCounter("n_total", "", {}, [] { return 1.0; });
  registry.SetCallbackCounter("n_total", "", {}, [] { return 2.5; });

  CHECK(registry.Text() == "# HELP n_total \n# TYPE n_total counter\nn_total 2.5\n");
}

TEST_CASE("A callback may use the registry it is shown by", "[metrics][registry]") {
  MetricRegistry registry;
  registry.SetCallbackGauge("n", "", {}, [&registry] {
    return static_cast<double>(registry.GetCounter("m_total", "").Value());
  });

  CHECK(registry.Text().find("n 0\n") != std::string::npos);
}

TEST_CASE("Updates of many threads are all counted", "[metrics][threads]") {
  MetricRegistry registry;
  Counter& counter = registry.GetCounter("n_total", "");
  Gauge& gauge = registry.GetGauge("g", "");
  Histogram& histogram = registry.GetHistogram("h", "", {1});
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10'000; ++i) {
          counter.Increment();
          gauge.Add(1);
          histogram.Observe(1);
        }
      });
    }
  }

  CHECK(counter.Value() == 40'000);
  CHECK(gauge.Value() == 40'000);
  CHECK(histogram.Read().count == 40'000);
  CHECK(histogram.Read().sum == 40'000);
}

TEST_CASE("Exponential buckets multiply", "[metrics][histogram]") {
  CHECK(ExponentialBuckets(0.001, 2, 4) == std::vector<double>{0.001, 0.002, 0.004, 0.008});
}

TEST_CASE("Process metrics are numbers that make sense", "[metrics][process]") {
  MetricRegistry registry;
  RegisterProcessMetrics(registry);
  const std::string text = registry.Text();
  const auto value = [&text](const std::string& name) {
    const size_t at = text.find("\n" + name + " ");
    REQUIRE(at != std::string::npos);
    return std::stod(text.substr(at + name.size() + 2));
  };

  CHECK(value("process_cpu_seconds_total") > 0);
  CHECK(value("process_resident_memory_bytes") > 100'000);
  CHECK(value("process_open_fds") >= 3);
  CHECK(value("process_max_fds") >= value("process_open_fds"));
  CHECK(value("process_start_time_seconds") > 1.6e9);
  CHECK(value("process_start_time_seconds") <= static_cast<double>(std::time(nullptr)) + 2);
}

}  // namespace
}  // namespace keelson
