// etcd's metric names over a Server (kvstore.md 13.7).
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kvstore/server/http_endpoints.h"

namespace keelson::kvstore {
namespace {

using Read = MetricRegistry::Callback;

struct Entry {
  const char* name;
  const char* help;
  Read read;
};

void AddGauges(MetricRegistry& metrics, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries)
    metrics.SetCallbackGauge(entry.name, entry.help, {}, entry.read);
}
void AddCounters(MetricRegistry& metrics, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    metrics.SetCallbackCounter(entry.name, entry.help, {}, entry.read);
  }
}

Read Of(const std::atomic<uint64_t>& counter) {
  return [&counter] { return static_cast<double>(counter.load(std::memory_order_relaxed)); };
}

void AddRaft(MetricRegistry& metrics, Server* server) {
  AddGauges(metrics,
            {{"etcd_server_has_leader", "Whether a leader is known.",
              [server] { return server->HasLeader() ? 1.0 : 0.0; }},
             {"etcd_server_is_leader", "Whether this member leads.",
              [server] { return server->IsLeader() ? 1.0 : 0.0; }},
             {"etcd_server_is_learner", "Whether this member is a learner.",
              [server] { return server->IsLearner() ? 1.0 : 0.0; }},
             {"etcd_server_proposals_committed_total", "Index of the last committed entry.",
              [server] { return static_cast<double>(server->Peek().commit); }},
             {"etcd_server_proposals_applied_total", "Index of the last applied entry.",
              [server] { return static_cast<double>(server->Peek().applied); }},
             {"etcd_server_proposals_pending", "Proposals that wait for their result.",
              [server] { return static_cast<double>(server->pending_proposals()); }},
             {"etcd_server_quota_backend_bytes", "Quota of the database; 0: none.",
              [server] { return static_cast<double>(server->options().space.quota_bytes); }}});
  const Server::Counters& counters = server->counters();
  AddCounters(metrics, {{"etcd_server_leader_changes_seen_total", "Changes of the leader.",
                         Of(counters.leader_changes)},
                        {"etcd_server_proposals_failed_total",
                         "Proposals without a result in time.", Of(counters.proposals_failed)},
                        {"etcd_server_read_indexes_failed_total", "Linearizable reads that failed.",
                         Of(counters.read_barriers_failed)},
                        {"etcd_server_health_success", "Health requests answered well.",
                         Of(counters.health_successes)},
                        {"etcd_server_health_failures", "Health requests answered badly.",
                         Of(counters.health_failures)}});
  const std::string& version = server->options().version;
  metrics
      .GetGauge("etcd_server_version", "The version that is reported.",
                {{"server_version", version}})
      .Set(1);
  // Without the patch, as etcd has it here.
  metrics
      .GetGauge("etcd_cluster_version", "The cluster's version.",
                {{"cluster_version", version.substr(0, version.rfind('.'))}})
      .Set(1);
  metrics
      .GetGauge("etcd_server_id", "This member's id.",
                {{"server_id", absl::StrCat(absl::Hex(server->options().member_id))}})
      .Set(1);
}

void AddStore(MetricRegistry& metrics, Server* server) {
  const auto size = [server](int64_t Store::Sizes::*field) -> Read {
    return [server, field] { return static_cast<double>(server->store().GetSizes().*field); };
  };
  AddGauges(metrics,
            {{"etcd_mvcc_db_total_size_in_bytes", "Bytes of the database's files.",
              size(&Store::Sizes::disk_bytes)},
             {"etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of live data, estimated.",
              size(&Store::Sizes::in_use_bytes)},
             {"etcd_debugging_mvcc_keys_total", "Live keys.", size(&Store::Sizes::keys)},
             {"etcd_debugging_mvcc_current_revision", "The newest revision.",
              [server] { return static_cast<double>(server->store().Revision()); }},
             {"etcd_debugging_mvcc_compact_revision", "The revision compacted up to.",
              [server] { return static_cast<double>(server->store().CompactedRevision()); }}});
  const Server::Counters& counters = server->counters();
  AddCounters(
      metrics,
      {{"etcd_mvcc_range_total", "Ranges asked of this member.", Of(counters.ranges)},
       {"etcd_mvcc_put_total", "Puts asked of this member.", Of(counters.puts)},
       {"etcd_mvcc_delete_total", "Deletes asked of this member.", Of(counters.deletes)},
       {"etcd_mvcc_txn_total", "Transactions asked of this member.", Of(counters.txns)},
       {"etcd_debugging_lease_granted_total", "Leases granted.", Of(counters.leases_granted)},
       {"etcd_debugging_lease_revoked_total", "Leases revoked.", Of(counters.leases_revoked)},
       {"etcd_debugging_lease_renewed_total", "Renewals done by this member as leader.",
        Of(counters.leases_renewed)},
       {"etcd_debugging_server_lease_expired_total", "Leases that this leader let end.",
        Of(counters.leases_expired)}});
}

void AddWatch(MetricRegistry& metrics, Server* server) {
  const auto count = [server](size_t WatchHub::Stats::*field) -> Read {
    return [server, field] { return static_cast<double>(server->watch_hub().GetStats().*field); };
  };
  AddGauges(metrics,
            {{"etcd_debugging_mvcc_watch_stream_total", "Open watch streams.",
              count(&WatchHub::Stats::streams)},
             {"etcd_debugging_mvcc_watcher_total", "Watchers.", count(&WatchHub::Stats::watchers)},
             {"etcd_debugging_mvcc_slow_watcher_total", "Watchers that read history.",
              count(&WatchHub::Stats::lagging)}});
  AddCounters(metrics,
              {{"etcd_debugging_mvcc_events_total", "Events queued for watchers.",
                [server] { return static_cast<double>(server->watch_hub().GetStats().events); }}});
}

}  // namespace

void RegisterServerMetrics(MetricRegistry& metrics, Server* server) {
  AddRaft(metrics, server);
  AddStore(metrics, server);
  AddWatch(metrics, server);
}

}  // namespace keelson::kvstore
