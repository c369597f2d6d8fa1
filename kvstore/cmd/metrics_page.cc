#include "kvstore/cmd/metrics_page.h"

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/http/client.h"
#include "base/status.h"
#include "base/tls.h"

namespace keelson::kvctl {
namespace {

bool IsOf(const std::string& sample, const std::string& name) {
  return absl::StartsWith(sample, name) &&
         (sample.size() == name.size() || sample[name.size()] == '{');
}

}  // namespace

MetricsPage MetricsPage::Parse(std::string_view text) {
  MetricsPage page;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    const size_t space = line.rfind(' ');
    double value = 0;
    if (line.empty() || line[0] == '#' || space == absl::string_view::npos) continue;
    if (absl::SimpleAtod(line.substr(space + 1), &value)) {
      page.values_[std::string(line.substr(0, space))] = value;
    }
  }
  return page;
}

std::optional<double> MetricsPage::Get(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

double MetricsPage::Sum(const std::string& name, const std::string& label) const {
  double sum = 0;
  for (auto it = values_.lower_bound(name); it != values_.end() && IsOf(it->first, name); ++it) {
    if (absl::StrContains(it->first, label)) sum += it->second;
  }
  return sum;
}

std::map<std::string, double> MetricsPage::By(const std::string& name,
                                              const std::string& label) const {
  std::map<std::string, double> sums;
  const std::string begin = label + "=\"";
  for (auto it = values_.lower_bound(name); it != values_.end() && IsOf(it->first, name); ++it) {
    const size_t at = it->first.find(begin);
    if (at == std::string::npos) continue;
    const size_t from = at + begin.size();
    sums[it->first.substr(from, it->first.find('"', from) - from)] += it->second;
  }
  return sums;
}

absl::StatusOr<MetricsPage> FetchMetrics(const Context& context, const std::string& endpoint) {
  const GlobalFlags& flags = context.flags;
  TlsMaterial material;
  if (!flags.cert_file.empty() || !flags.ca_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(material, LoadTlsMaterial({.cert_file = flags.cert_file,
                                                        .key_file = flags.key_file,
                                                        .ca_file = flags.ca_file}));
  }
  material.verify_peer = !flags.insecure_skip_tls_verify;
  const bool tls = !flags.cert_file.empty() || !flags.ca_file.empty() ||
                   flags.insecure_skip_tls_verify || !flags.insecure_transport;
  http::ClientOptions options;
  if (tls || absl::StartsWith(endpoint, "https://")) {
    KEELSON_ASSIGN_OR_RETURN(options.tls, TlsClientContext::Create(material));
  }
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<http::Client> client,
                           http::Client::Create(options));
  const std::string base = absl::StrContains(endpoint, "://")
                               ? endpoint
                               : absl::StrCat(tls ? "https://" : "http://", endpoint);
  KEELSON_ASSIGN_OR_RETURN(const http::Response response,
                           client->FetchBlocking({.url = absl::StrCat(base, "/metrics"),
                                                  .connect_timeout = absl::Seconds(2),
                                                  .timeout = context.CommandTimeout()}));
  if (response.status != 200) {
    return absl::UnavailableError(absl::StrCat(base, "/metrics: status ", response.status));
  }
  return MetricsPage::Parse(response.body);
}

}  // namespace keelson::kvctl
