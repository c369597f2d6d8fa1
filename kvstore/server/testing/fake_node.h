// A raft::Node that does what a test says: keeps proposals and read barriers for it to answer.
#ifndef KEELSON_KVSTORE_SERVER_TESTING_FAKE_NODE_H_
#define KEELSON_KVSTORE_SERVER_TESTING_FAKE_NODE_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "raft/node.h"

namespace keelson::kvstore {

// Not thread-safe.
class FakeNode final : public raft::Node {
 public:
  struct Proposal {
    std::string bytes;
    std::function<void(absl::Status)> refused;
  };
  struct Barrier {
    absl::Duration timeout;
    std::function<void(absl::Status)> done;
  };

  std::vector<Proposal> proposals;
  std::vector<Barrier> barriers;
  std::vector<raft::ConfChange> conf_changes;
  raft::Status status;
  Snapshot peek;
  bool answer_barriers = true;  // at once, with OK; else they are kept

  void Stop() override {}
  void Propose(raft::Payload payload, std::function<void(absl::Status)> refused) override {
    proposals.push_back({std::string(payload.view()), std::move(refused)});
  }
  void ProposeConfChange(raft::ConfChange change, std::function<void(absl::Status)>) override {
    conf_changes.push_back(std::move(change));
  }
  void ReadBarrier(absl::Duration timeout, std::function<void(absl::Status)> done) override {
    if (answer_barriers) return done(absl::OkStatus());
    barriers.push_back({timeout, std::move(done)});
  }
  void TransferLeadership(raft::NodeId) override {}
  void Campaign() override {}
  [[nodiscard]] Snapshot Peek() const override { return peek; }
  void GetStatus(std::function<void(raft::Status)> done) override { done(status); }
  [[nodiscard]] Stats GetStats() const override { return {}; }
  void Receive(std::vector<raft::Message>) override {}
  void ReportUnreachable(raft::NodeId) override {}
  void ReportSnapshot(raft::NodeId, bool) override {}
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_TESTING_FAKE_NODE_H_
