// Sends two servers the same random requests in lockstep and compares every answer, for
// etcd_diff.py.
//
//   driver --etcd=HOST:PORT --ours=HOST:PORT --operations=N --seed=S
//
// Ends with 1 at the first difference, which is printed with the number of the request. What is
// left out of the comparison: compare.h.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/api/rpc.pb.h"
#include "tests/interop/etcd_diff/compare.h"
#include "tests/interop/etcd_diff/generator.h"
#include "tests/interop/etcd_diff/peer.h"

namespace keelson::etcd_diff {
namespace {

using namespace etcdserverpb;  // NOLINT: all of it

constexpr int kSettleEvery = 500;
constexpr int kAuthEvery = 4000;  // operations; the last tenth of them with authentication on
constexpr int64_t kOwnWatches = 1'000'000'000;  // ids from here on are chosen by the driver
constexpr size_t kBurst = 32;                   // reads at once
constexpr double kRun = 24;                     // reads, or changes, after each other
constexpr size_t kLiveWatches = 24;             // from here on more are ended than made
constexpr absl::Duration kSettleTime = absl::Seconds(10);

struct Answer {
  absl::Status status;
  std::string text;

  friend bool operator==(const Answer& a, const Answer& b) {
    return a.status == b.status && a.text == b.text;
  }
  [[nodiscard]] std::string ToString() const {
    return status.ok() ? text : std::string(status.ToString());
  }
};

class Comparison {
 public:
  Comparison(std::unique_ptr<Peer> etcd, std::unique_ptr<Peer> ours, uint64_t seed)
      : etcd_(std::move(etcd)), ours_(std::move(ours)), generator_(seed) {}

  bool Run(int64_t operations) {
    const absl::Time begin = absl::Now();
    for (number_ = 0; number_ < operations; ++number_) {
      if (!Step()) return false;
      if ((number_ + 1) % 10'000 == 0) Tell(begin);
    }
    if (!Finish()) return false;
    if (aim_.auth && !EndAuth()) return false;
    if (!Settle() || !CompareHash()) return false;
    Tell(begin);
    return true;
  }

  void Tell(absl::Time begin) const {
    std::printf(
        "     %lld requests equal, %lld operations with those of transactions, %.0f requests/s; "
        "revision %lld, %lld refused alike, %lld watches, %lld events, %lld notes of progress, "
        "%lld hashes\n",
        static_cast<long long>(number_), static_cast<long long>(number_) + inner_,
        number_ / absl::ToDoubleSeconds(absl::Now() - begin), static_cast<long long>(aim_.revision),
        static_cast<long long>(refused_), static_cast<long long>(watches_),
        static_cast<long long>(events_), static_cast<long long>(progress_),
        static_cast<long long>(hashes_));
    std::fflush(stdout);
  }

 private:
  bool Step() {
    const int64_t phase = number_ % kAuthEvery;
    if (phase == kAuthEvery / 10 * 9 && !BeginAuth()) return false;
    if (phase == 0 && aim_.auth && !EndAuth()) return false;
    if (number_ % kSettleEvery == kSettleEvery - 1 && !Settle()) return false;
    if (!aim_.auth && generator_.random().Bernoulli(0.004)) return ChangeWatches();
    if (!aim_.auth && generator_.random().Bernoulli(0.0005)) return AskForProgress();
    Operation operation = NextOperation();
    const std::string user = aim_.auth ? SomeUser() : "";
    if (IsRead(operation)) {
      // Nothing changes meanwhile, so these need not wait for each other.
      if (burst_.size() == kBurst && !Finish()) return false;
      Begin(operation, user);
      burst_.push_back({number_, std::move(operation), user});
      return true;
    }
    // A watch that still reads old revisions would be ended, or not, by chance.
    if (operation.method == "KV/Compact" && !CatchUp()) return false;
    return Do(operation, user).has_value();
  }

  // Reads come in runs, since those of a run are under way together.
  Operation NextOperation() {
    Random& random = generator_.random();
    if (random.Bernoulli(1.0 / kRun)) reading_ = !reading_;
    Operation operation = generator_.Next(aim_);
    for (int tries = 0; IsRead(operation) != reading_ && tries < 8; ++tries) {
      operation = generator_.Next(aim_);
    }
    return operation;
  }

  static bool IsRead(const Operation& operation) {
    constexpr std::array<std::string_view, 8> kReads = {
        "KV/Range",     "Lease/LeaseTimeToLive", "Lease/LeaseLeases", "Maintenance/HashKV",
        "Auth/UserGet", "Auth/UserList",         "Auth/RoleGet",      "Auth/RoleList"};
    return std::find(kReads.begin(), kReads.end(), operation.method) != kReads.end();
  }

  void Begin(const Operation& operation, const std::string& user) {
    for (Peer* peer : {etcd_.get(), ours_.get()}) peer->Begin(operation, user);
  }

  // Waits for the reads that are under way, and compares them.
  bool Finish() {
    for (const Pending& pending : std::exchange(burst_, {})) {
      if (!Compare(pending, nullptr).has_value()) return false;
    }
    return true;
  }

  // Both answers if they are equal. `raw`, if given, gets the responses as they came.
  std::optional<Answer> Do(
      const Operation& operation, const std::string& user,
      std::map<Peer*, std::unique_ptr<google::protobuf::Message>>* raw = nullptr) {
    if (!Finish()) return std::nullopt;
    Begin(operation, user);
    return Compare({.number = number_, .user = user, .borrowed = &operation}, raw);
  }

  struct Pending {
    int64_t number = 0;
    Operation operation = {};
    std::string user;
    const Operation* borrowed = nullptr;  // instead of `operation`

    [[nodiscard]] const Operation& Asked() const {
      return borrowed == nullptr ? operation : *borrowed;
    }
  };

  // Of the call that began first.
  std::optional<Answer> Compare(const Pending& pending,
                                std::map<Peer*, std::unique_ptr<google::protobuf::Message>>* raw) {
    const Operation& operation = pending.Asked();
    const Answer want = End(*etcd_, operation, raw);
    const Answer got = End(*ours_, operation, raw);
    if (!(want == got)) {
      std::printf("DIFFERENT: request %lld by '%s': %s %s\n     etcd's %s\n     ours   %s\n",
                  static_cast<long long>(pending.number), pending.user.c_str(),
                  operation.method.c_str(), operation.request->ShortDebugString().c_str(),
                  want.ToString().c_str(), got.ToString().c_str());
      return std::nullopt;
    }
    if (!want.status.ok()) {
      ++refused_;
    } else if (const auto* request =
                   dynamic_cast<const CompactionRequest*>(operation.request.get())) {
      aim_.compacted = request->revision();
    } else if (operation.method == "Maintenance/HashKV") {
      ++hashes_;
    }
    return want;
  }

  Answer End(Peer& peer, const Operation& operation,
             std::map<Peer*, std::unique_ptr<google::protobuf::Message>>* raw) {
    const std::unique_ptr<google::protobuf::Message> response(operation.response->New());
    Answer answer;
    answer.status = peer.End(response.get());
    if (!answer.status.ok()) return answer;
    if (raw != nullptr) {
      auto& copy = (*raw)[&peer];
      copy.reset(response->New());
      copy->CopyFrom(*response);
    }
    Normalize(*operation.request, response.get());
    if (&peer == etcd_.get()) {
      if (const auto* txn = dynamic_cast<const TxnResponse*>(response.get())) inner_ += Inner(*txn);
    }
    answer.text = response->ShortDebugString();
    NoteRevision(*response);
    return answer;
  }

  // Operations that a transaction has done.
  static int64_t Inner(const TxnResponse& response) {
    int64_t done = response.responses_size();
    for (const ResponseOp& op : response.responses()) {
      if (op.has_response_txn()) done += Inner(op.response_txn());
    }
    return done;
  }

  void NoteRevision(const google::protobuf::Message& response) {
    const auto* const field = response.GetDescriptor()->FindFieldByName("header");
    if (field == nullptr) return;
    const auto& header =
        dynamic_cast<const ResponseHeader&>(response.GetReflection()->GetMessage(response, field));
    if (header.revision() > aim_.revision) aim_.revision = header.revision();
  }

  // --- Watches ---

  bool ChangeWatches() {
    // Cancelling is not ordered with events that are on their way.
    if (!Settle()) return false;
    WatchRequest request;
    if (!live_.empty() && generator_.random().Bernoulli(live_.size() > kLiveWatches ? 0.8 : 0.3)) {
      const int64_t id = live_[generator_.random().Below(live_.size())];
      request.mutable_cancel_request()->set_watch_id(id);
    } else {
      generator_.FillWatch(aim_, request.mutable_create_request());
      AvoidSpentIds(request.mutable_create_request());
      ++watches_;
      behind_ = behind_ || request.create_request().start_revision() > 0;
    }
    return SendWatch(request) && Settle();
  }

  // Etcd never gives the id of a watch that a compaction has ended to another one.
  void AvoidSpentIds(WatchCreateRequest* create) {
    if (spent_.count(create->watch_id()) > 0) create->clear_watch_id();
    const auto next = spent_.lower_bound(next_id_);
    const bool ahead = next != spent_.end() && *next < kOwnWatches;
    if (create->watch_id() == 0 && ahead) create->set_watch_id(kOwnWatches + watches_);
  }

  // Sends `request` to one after the other, and waits for the answers.
  bool SendWatch(const WatchRequest& request) {
    const WatchCreateRequest& create = request.create_request();
    for (Peer* peer : {etcd_.get(), ours_.get()}) {
      const size_t made = peer->made().count;
      peer->SendWatch(request);
      if (request.has_cancel_request()) {
        if (!Await([&] { return peer->ended(request.cancel_request().watch_id()); })) return false;
        continue;
      }
      if (!Await([&] { return peer->made().count > made; })) return false;
      const int64_t id = peer->made().last_id;
      if (create.watch_id() == 0 && id >= 0) next_id_ = id + 1;
      // One that asks for what has been compacted is made, and ended.
      const bool ends = create.start_revision() > 0 && create.start_revision() < aim_.compacted;
      if (ends && id >= 0 && !Await([&] { return peer->ended(id); })) return false;
    }
    return true;
  }

  static bool Await(absl::FunctionRef<bool()> condition) {
    const absl::Time deadline = absl::Now() + kSettleTime;
    while (!condition()) {
      if (absl::Now() > deadline) {
        std::printf("DIFFERENT: a request about watches is not answered\n");
        return false;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
    return true;
  }

  // With nothing under way, both must say where they are.
  bool AskForProgress() {
    behind_ = true;
    // Of a stream without a watch etcd 3.4.23 tells it, too, and later ones do not.
    if (!CatchUp() || live_.empty()) return Settle();
    WatchRequest request;
    request.mutable_progress_request();
    for (Peer* peer : {etcd_.get(), ours_.get()}) {
      const size_t before = peer->progress().second;
      peer->SendWatch(request);
      // The answer to one of CatchUp may be under way, too.
      if (!Await([&] {
            return peer->progress().second > before && peer->progress().first == aim_.revision;
          })) {
        std::printf("DIFFERENT: before request %lld: progress at %lld, the revision is %lld\n",
                    static_cast<long long>(number_), static_cast<long long>(peer->progress().first),
                    static_cast<long long>(aim_.revision));
        return false;
      }
    }
    ++progress_;
    return true;
  }

  // Until no watch reads history any more.
  bool CatchUp() {
    if (!Settle()) return false;
    if (!std::exchange(behind_, false)) return true;
    // Etcd does not say so; but it reads history for all watches together, so when one that was
    // made last has got its event, the others have got theirs.
    PutRequest put;
    put.set_key("~last");
    if (!Ask<PutRequest, PutResponse>("KV/Put", put, "")) return false;
    const int64_t id = kOwnWatches + watches_++;
    WatchRequest create;
    create.mutable_create_request()->set_key(put.key());
    create.mutable_create_request()->set_start_revision(aim_.revision);
    create.mutable_create_request()->set_watch_id(id);
    WatchRequest cancel;
    cancel.mutable_cancel_request()->set_watch_id(id);
    if (!SendWatch(create)) return false;
    for (Peer* peer : {etcd_.get(), ours_.get()}) {
      if (!Await([&] { return peer->events_of(id) > 0; })) return false;
    }
    // Ours reads it watch by watch, and tells progress only when none does.
    WatchRequest request;
    request.mutable_progress_request();
    if (!Await([&] {
          if (ours_->progress().first >= aim_.revision) return true;
          ours_->SendWatch(request);
          return false;
        })) {
      return false;
    }
    return SendWatch(cancel) && Settle();
  }

  // Waits until both have told the same on all watches.
  bool Settle() {
    if (!Finish()) return false;
    const absl::Time deadline = absl::Now() + kSettleTime;
    for (absl::Duration pause = absl::Milliseconds(1);;
         pause = std::min(pause * 2, absl::Milliseconds(50))) {
      const auto want = etcd_->watched();
      const auto got = ours_->watched();
      std::string difference;
      for (const auto& [id, theirs] : want) {
        const auto it = got.find(id);
        if (it == got.end()) {
          difference = absl::StrCat("watch ", id, " is silent here");
        } else if (theirs.answers != it->second.answers) {
          difference = absl::StrCat("answers of watch ", id, ": etcd's ", Last(theirs.answers),
                                    ", ours ", Last(it->second.answers));
        } else if (theirs.events != it->second.events) {
          difference = absl::StrCat("events of watch ", id, ":\n     etcd's ", Tail(theirs.events),
                                    "\n     ours   ", Tail(it->second.events));
        }
      }
      if (got.size() > want.size()) difference = "more watches here";
      if (difference.empty()) {
        Forget(want);
        return true;
      }
      if (absl::Now() > deadline) {
        std::printf("DIFFERENT: before request %lld: %s\n", static_cast<long long>(number_),
                    difference.c_str());
        return false;
      }
      absl::SleepFor(pause);
    }
  }

  void Forget(const std::map<int64_t, Peer::Watched>& watched) {
    live_.clear();
    std::vector<int64_t> ended;
    for (const auto& [id, theirs] : watched) {
      events_ += static_cast<int64_t>(theirs.events.size());
      // Answered twice: made and ended. -1 are those that could not be made.
      const bool live = id >= 0 && theirs.answers.size() == 1;
      if (absl::StrContains(Last(theirs.answers), "compact_revision")) spent_.insert(id);
      (live ? live_ : ended).push_back(id);
    }
    // Not more than was compared: one of them may have told more meanwhile.
    etcd_->Forget(watched, ended);
    ours_->Forget(watched, ended);
  }

  // How many there are, and the last few.
  static std::string Tail(const std::vector<std::string>& lines) {
    std::string tail = absl::StrCat(lines.size(), ":");
    for (size_t i = lines.size() > 12 ? lines.size() - 12 : 0; i < lines.size(); ++i) {
      absl::StrAppend(&tail, "\n       ", lines[i]);
    }
    return tail;
  }

  static std::string Last(const std::vector<std::string>& lines) {
    return lines.empty() ? "none" : lines.back();
  }

  bool CompareHash() {
    Operation hash;
    hash.method = "Maintenance/HashKV";
    hash.request = std::make_unique<HashKVRequest>();
    hash.response = std::make_unique<HashKVResponse>();
    return Do(hash, "").has_value();
  }

  // --- Authentication ---

  std::string SomeUser() {
    switch (generator_.random().Below(8)) {
      case 0:
        return "";
      case 1:
        return "nobody";  // with a token that nobody has got
      case 2:
      case 3:
        return "alice";
      case 4:
        return "bob";
      default:
        return "root";
    }
  }

  template <typename Request, typename Response>
  bool Ask(const char* method, const Request& request, const std::string& user,
           bool keep_tokens = false) {
    Operation operation;
    operation.method = method;
    operation.request = std::make_unique<Request>(request);
    operation.response = std::make_unique<Response>();
    std::map<Peer*, std::unique_ptr<google::protobuf::Message>> raw;
    if (!Do(operation, user, &raw).has_value()) return false;
    if constexpr (std::is_same_v<Response, AuthenticateResponse>) {
      for (const auto& [peer, response] : raw) {
        if (keep_tokens) {
          peer->SetToken(request.name(),
                         dynamic_cast<const AuthenticateResponse&>(*response).token());
        }
      }
    }
    return true;
  }

  bool LogIn(const std::string& user) {
    AuthenticateRequest request;
    request.set_name(user);
    request.set_password("pw");
    return Ask<AuthenticateRequest, AuthenticateResponse>("Auth/Authenticate", request, "", true);
  }

  bool BeginAuth() {
    if (!Settle()) return false;
    for (Peer* peer : {etcd_.get(), ours_.get()}) {
      for (const char* user : {"root", "alice", "bob", "nobody"}) peer->SetToken(user, "abc.1");
    }
    AuthUserAddRequest root;
    root.set_name("root");
    root.set_password("pw");
    AuthRoleAddRequest role;
    role.set_name("root");
    AuthUserGrantRoleRequest grant;
    grant.set_user("root");
    grant.set_role("root");
    if (!Ask<AuthUserAddRequest, AuthUserAddResponse>("Auth/UserAdd", root, "") ||
        !Ask<AuthRoleAddRequest, AuthRoleAddResponse>("Auth/RoleAdd", role, "") ||
        !Ask<AuthUserGrantRoleRequest, AuthUserGrantRoleResponse>("Auth/UserGrantRole", grant,
                                                                  "") ||
        !Ask<AuthEnableRequest, AuthEnableResponse>("Auth/AuthEnable", {}, "")) {
      return false;
    }
    aim_.auth = true;
    return LogIn("root") && LogIn("alice") && LogIn("bob");
  }

  bool EndAuth() {
    aim_.auth = false;
    return LogIn("root") &&
           Ask<AuthDisableRequest, AuthDisableResponse>("Auth/AuthDisable", {}, "root");
  }

  const std::unique_ptr<Peer> etcd_;
  const std::unique_ptr<Peer> ours_;
  Generator generator_;
  Aim aim_;
  int64_t number_ = 0;
  int64_t refused_ = 0;
  int64_t watches_ = 0;
  int64_t events_ = 0;
  bool behind_ = false;  // a watch may still read history
  int64_t hashes_ = 0;
  int64_t progress_ = 0;
  bool reading_ = false;
  int64_t inner_ = 0;           // operations inside transactions
  int64_t next_id_ = 0;         // no watch has got this id, or a larger one, without asking for it
  std::vector<int64_t> live_;   // watches
  std::set<int64_t> spent_;     // ids of watches that a compaction has ended
  std::vector<Pending> burst_;  // reads under way
};

}  // namespace
}  // namespace keelson::etcd_diff

int main(int argc, char** argv) {
  CLI::App app("Compares kvstored with etcd, answer by answer.");
  std::string etcd;
  std::string ours;
  int64_t operations = 20'000;
  uint64_t seed = 1;
  app.add_option("--etcd", etcd)->required();
  app.add_option("--ours", ours)->required();
  app.add_option("--operations", operations);
  app.add_option("--seed", seed);
  CLI11_PARSE(app, argc, argv);
  using keelson::etcd_diff::Peer;
  keelson::etcd_diff::Comparison comparison(Peer::Connect(etcd), Peer::Connect(ours), seed);
  return comparison.Run(operations) ? 0 : 1;
}
