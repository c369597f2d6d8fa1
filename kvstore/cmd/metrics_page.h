// The page /metrics of a member, read.
#ifndef KEELSON_KVSTORE_CMD_METRICS_PAGE_H_
#define KEELSON_KVSTORE_CMD_METRICS_PAGE_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "kvstore/cmd/context.h"

namespace keelson::kvctl {

// Values by name with labels, as the page has them: `a_total{method="Put"}`.
class MetricsPage {
 public:
  // Lines that are no sample are skipped.
  static MetricsPage Parse(std::string_view text);

  // The value without labels.
  [[nodiscard]] std::optional<double> Get(const std::string& name) const;
  // The sum over all labels that contain `label`, such as `grpc_method="Put"`.
  [[nodiscard]] double Sum(const std::string& name, const std::string& label) const;
  // The values of `name` by the value of `label`.
  [[nodiscard]] std::map<std::string, double> By(const std::string& name,
                                                 const std::string& label) const;

 private:
  std::map<std::string, double> values_;
};

// Asks `endpoint`, as --endpoints has it, with the TLS files of the global flags.
absl::StatusOr<MetricsPage> FetchMetrics(const Context& context, const std::string& endpoint);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_METRICS_PAGE_H_
