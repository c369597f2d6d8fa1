// Clients and watches of a simulated cluster: the workloads of workload.h, in virtual time.
#ifndef KEELSON_TESTS_LINEARIZABILITY_SIM_CLIENTS_H_
#define KEELSON_TESTS_LINEARIZABILITY_SIM_CLIENTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/random.h"
#include "kvstore/server/server.h"
#include "kvstore/server/watch_hub.h"
#include "raft/sim/sim_world.h"
#include "tests/linearizability/history.h"
#include "tests/linearizability/sim_member.h"

namespace keelson::linearizability {

using Members = std::vector<std::unique_ptr<SimMember>>;

// What all clients of a run share. Pointers are borrowed.
struct SimScene {
  raft::sim::SimWorld& world;
  Members& members;
  History& history;
  bool stopping = false;
  bool serializable_reads = false;
  absl::Duration timeout = absl::Milliseconds(700);
  int64_t seen = 1;       // a revision that every long watch has passed
  int64_t compacted = 0;  // no watch begins at or below it

  [[nodiscard]] int64_t now() const { return absl::ToInt64Nanoseconds(world.now()); }

  // Calls a member's server over the network. `then` runs once, with DEADLINE_EXCEEDED when nothing
  // was heard in time.
  template <typename Request, typename Response>
  void Call(SimMember& member,
            std::function<void(kvstore::Server&, const Request&, Response*, kvstore::Server::Done)>
                method,
            const Request& request, std::function<void(const absl::Status&, const Response&)> then);
};

class SimClient {
 public:
  enum class Kind : uint8_t { kRegister, kSet, kAppend, kLock };

  // `scene` is borrowed. `pinned`: it stays with its member, whatever becomes of it.
  SimClient(SimScene& scene, int number, Kind kind, bool pinned, Random random)
      : scene_(scene), number_(number), kind_(kind), pinned_(pinned), random_(random) {}

  void Start() { Next(); }

 private:
  using Then = std::function<void(const Operation&)>;

  void Next();
  void Act();
  void Append();
  void Lock();
  void Guard(const std::string& lock, int64_t revision, int64_t lease, int64_t times);
  void Release(const std::string& lock, int64_t revision, int64_t lease);
  void Leave(int64_t lease);

  void Read(const std::string& key, const std::string& range_end, Then then);
  void Put(const std::string& key, const std::string& value, Then then);
  void Swap(const Condition& condition, const Effect& effect, Then then);
  void Note(Operation operation, const absl::Status& status, int64_t revision, const Then& then);
  std::string NextValue();
  SimMember& Pick();
  void After(absl::Duration most, std::function<void()> what);

  SimScene& scene_;
  const int number_;
  const Kind kind_;
  const bool pinned_;
  Random random_;
  size_t member_ = 0;
  int64_t values_ = 0;
};

// A watch that goes on wherever it was broken off.
class SimWatch final : public kvstore::WatchWaker, public std::enable_shared_from_this<SimWatch> {
 public:
  SimWatch(SimScene& scene, std::string name, bool pinned, size_t member, std::string key,
           std::string range_end, int64_t start, Random random);

  void Open();
  void RequestProgress();
  // The member's process ends: the stream breaks.
  void OnDown(const SimMember& member);
  // The watch is over; its record goes to the history. `complete_to`: it was waited for.
  void Finish(int64_t complete_to);

  [[nodiscard]] int64_t heard() const { return heard_; }
  [[nodiscard]] bool ended() const { return ended_; }
  void Wake() override { Pump(); }

 private:
  void Pump();
  void Take(const etcdserverpb::WatchResponse& response);
  void Reopen();

  SimScene& scene_;
  const bool pinned_;
  size_t member_;
  Random random_;
  WatchRecord record_;
  int64_t next_;  // revision to go on from
  int64_t heard_;
  bool ended_ = false;     // by the server: what it wants is compacted
  bool finished_ = false;  // by us
  SimMember* at_ = nullptr;
  std::shared_ptr<kvstore::WatchStream> stream_;
};

Pair PairOf(const mvccpb::KeyValue& pair);

// ---- Details ----

template <typename Request, typename Response>
void SimScene::Call(
    SimMember& member,
    std::function<void(kvstore::Server&, const Request&, Response*, kvstore::Server::Done)> method,
    const Request& request, std::function<void(const absl::Status&, const Response&)> then) {
  struct State {
    Request request;
    Response response;
    std::function<void(const absl::Status&, const Response&)> then;
    bool finished = false;
    void Finish(const absl::Status& status) {
      if (finished) return;
      finished = true;
      then(status, response);
    }
  };
  constexpr absl::Duration kWay = absl::Microseconds(200);
  auto state = std::make_shared<State>();
  state->request = request;
  state->then = std::move(then);
  world.After(timeout, [state] { state->Finish(absl::DeadlineExceededError("no answer")); });
  world.After(kWay, [this, state, &member, method = std::move(method)] {
    if (!member.running()) return state->Finish(absl::UnavailableError("nobody there"));
    member.door().Post([this, state, &member, method] {
      method(member.server(), state->request, &state->response,
             [this, state](const absl::Status& status) {
               world.After(kWay, [state, status] { state->Finish(status); });
             });
    });
  });
}

}  // namespace keelson::linearizability

#endif  // KEELSON_TESTS_LINEARIZABILITY_SIM_CLIENTS_H_
