// Campaigns and the disk (thesis 3.8): what a vote request says must survive a crash.
//
// Found by raft/model: a request that leaves before term, vote and log are durable can be granted
// after its sender has restarted, campaigns in the same term again with a shorter log, and counts
// the grant. Entries that were committed are gone then. etcd-io/raft sends requests at once.
#include <catch2/catch.hpp>

#include <vector>

#include "base/testing/status_matchers.h"
#include "raft/core.h"
#include "raft/testing/core_network.h"
#include "raft/testing/solo_core.h"

namespace keelson::raft {
namespace {

Options Plain() {
  Options options;
  options.pre_vote = false;
  options.check_quorum = false;
  return options;
}

TEST_CASE("A vote request leaves only with the work that makes it true", "[raft][election]") {
  SoloCore solo(3, Plain());
  solo.core().Campaign();

  CHECK(solo.Take().empty());
  REQUIRE(solo.appends().size() == 1);
  CHECK(solo.appends().front().must_sync);
  CHECK(solo.appends().front().hard_state == HardState{1, 1, 0});
  const std::vector<Message> sent = solo.AppendOne();
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].type == MessageType::kVote);
  CHECK(sent[0].to == 2);
  CHECK(sent[1].to == 3);
}

TEST_CASE("A vote request waits for the entries it speaks of", "[raft][election]") {
  SoloCore solo(3, Plain());
  Message app = solo.From(2, MessageType::kApp);
  app.term = 1;
  app.entries = LogOf({1});
  KEELSON_REQUIRE_OK(solo.core().Step(app));
  (void)solo.Take();
  solo.core().Campaign();
  (void)solo.Take();

  REQUIRE(solo.appends().size() == 2);
  for (const Message& sent : solo.AppendOne()) CHECK(sent.type != MessageType::kVote);
  const std::vector<Message> sent = solo.AppendOne();
  REQUIRE_FALSE(sent.empty());
  CHECK(sent[0].type == MessageType::kVote);
  CHECK(sent[0].index == 1);
}

TEST_CASE("A pre-vote request promises nothing and does not wait", "[raft][election]") {
  Options options = Plain();
  options.pre_vote = true;
  SoloCore solo(3, options);
  solo.core().Campaign();

  const std::vector<Message> sent = solo.Take();
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].type == MessageType::kPreVote);
}

TEST_CASE("With durable campaigns off requests leave at once", "[raft][election]") {
  Options options = Plain();
  options.durable_campaigns = false;
  SoloCore solo(3, options);
  solo.core().Campaign();

  CHECK(solo.Take().size() == 2);
}

// A group of three on a network that delays one request.
TEST_CASE("A campaign that a crash has undone leaves no request behind", "[raft][election]") {
  CoreNetwork net(3, [](Options& options) {
    options.pre_vote = false;
    options.check_quorum = false;
  });
  net.core(2).Campaign();
  net.Collect(2);
  net.Restart(2);

  CHECK(net.in_flight().empty());
  CHECK(net.core(2).hard_state().term == 0);
}

}  // namespace
}  // namespace keelson::raft
