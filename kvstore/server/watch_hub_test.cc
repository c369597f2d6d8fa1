#include "kvstore/server/watch_hub.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/testing/fake_clock.h"
#include "kvstore/server/testing/fake_store.h"
#include "kvstore/server/testing/manual_executor.h"

using namespace keelson::kvstore;
using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;

namespace {

const std::string kZero(1, '\0');

struct CountingWaker final : WatchWaker {
  void Wake() override { ++wakes; }
  int wakes = 0;
};

// A hub on a store of its own; changes are published as soon as they are
// applied.
struct Fixture {
  explicit Fixture(WatchHub::Options options = {}) {
    options.cluster_id = 11;
    options.member_id = 22;
    hub.emplace(options, WatchHub::Env{.store = &store,
                                       .clock = &clock,
                                       .delivery = &delivery,
                                       .catch_up = &catch_up,
                                       .term = [] { return uint64_t{33}; }});
    stream = Open();
  }
  ~Fixture() { stream->Close(); }

  std::shared_ptr<WatchStream> Open() { return hub->Open(waker); }

  void Write(const std::vector<FakeStore::Write>& writes) { hub->Publish({store.Apply(writes)}); }
  void Put(const std::string& key, const std::string& value) { Write({{key, value}}); }
  void Delete(const std::string& key) { Write({{key, std::nullopt}}); }

  static WatchCreateRequest For(const std::string& key, const std::string& end = "",
                                int64_t start = 0) {
    WatchCreateRequest request;
    request.set_key(key);
    request.set_range_end(end);
    request.set_start_revision(start);
    return request;
  }
  void Create(const WatchCreateRequest& create) {
    WatchRequest request;
    *request.mutable_create_request() = create;
    stream->Handle(request);
  }
  void Cancel(int64_t id) {
    WatchRequest request;
    request.mutable_cancel_request()->set_watch_id(id);
    stream->Handle(request);
  }
  void RequestProgress() {
    WatchRequest request;
    (void)request.mutable_progress_request();
    stream->Handle(request);
  }

  std::optional<WatchResponse> Next() {
    const std::optional<std::string> bytes = stream->Next();
    if (!bytes.has_value()) return std::nullopt;
    WatchResponse response;
    REQUIRE(response.ParseFromString(*bytes));
    return response;
  }
  // Lets all background work finish and takes what there is.
  std::vector<WatchResponse> Take() {
    std::vector<WatchResponse> all;
    do {
      catch_up.RunAll();
      while (auto response = Next()) all.push_back(*std::move(response));
    } while (catch_up.RunOne());
    return all;
  }

  keelson::FakeClock clock;
  ManualExecutor delivery{&clock};
  ManualExecutor catch_up{&clock};
  FakeStore store;
  std::shared_ptr<CountingWaker> waker = std::make_shared<CountingWaker>();
  std::optional<WatchHub> hub;
  std::shared_ptr<WatchStream> stream;
};

std::string Text(const WatchResponse& response) {
  std::string text;
  for (const mvccpb::Event& event : response.events()) {
    if (!text.empty()) text += " ";
    text += event.type() == mvccpb::Event::PUT ? event.kv().key() + "=" + event.kv().value()
                                               : "-" + event.kv().key();
    if (event.has_prev_kv()) text += "(" + event.prev_kv().value() + ")";
  }
  return text;
}

std::vector<std::string> Texts(const std::vector<WatchResponse>& responses) {
  std::vector<std::string> texts;
  for (const WatchResponse& response : responses) {
    if (response.events_size() > 0) texts.push_back(Text(response));
  }
  return texts;
}
using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("A created watcher is answered first, with the store's revision", "[kvstore][watch]") {
  Fixture f;
  f.Put("a", "1");

  f.Create(f.For("a"));
  f.Put("a", "2");

  const auto responses = f.Take();
  REQUIRE(responses.size() == 2);
  CHECK(responses[0].created());
  CHECK(responses[0].watch_id() == 0);
  CHECK(responses[0].header().revision() == 2);
  CHECK(responses[0].header().cluster_id() == 11);
  CHECK(responses[0].header().member_id() == 22);
  CHECK(responses[0].header().raft_term() == 33);
  CHECK(responses[1].header().revision() == 3);
  CHECK(Text(responses[1]) == "a=2");
}

TEST_CASE("Watch ids are chosen from 0 and skip those in use", "[kvstore][watch]") {
  Fixture f;
  WatchCreateRequest with_id = f.For("a");
  with_id.set_watch_id(1);
  f.Create(with_id);
  f.Create(f.For("a"));
  f.Create(f.For("a"));
  f.Create(with_id);

  const auto responses = f.Take();
  REQUIRE(responses.size() == 4);
  CHECK(responses[0].watch_id() == 1);
  CHECK(responses[1].watch_id() == 0);
  CHECK(responses[2].watch_id() == 2);
  CHECK(responses[3].created());
  CHECK(responses[3].canceled());
  CHECK(responses[3].watch_id() == -1);
  CHECK(responses[3].cancel_reason() == "mvcc: duplicate watch ID provided on the WatchStream");
}

TEST_CASE("A range without keys and a negative start are refused", "[kvstore][watch]") {
  Fixture f;
  f.Create(f.For("b", "a"));
  f.Create(f.For("a", "a"));
  f.Create(f.For("a", "", -1));

  const auto responses = f.Take();
  REQUIRE(responses.size() == 3);
  for (const WatchResponse& response : responses) {
    CHECK(response.created());
    CHECK(response.canceled());
    CHECK(response.watch_id() == -1);
  }
  CHECK(responses[0].cancel_reason() == "mvcc: watcher range is empty");
  CHECK(responses[1].cancel_reason() == "mvcc: watcher range is empty");
  CHECK(responses[2].cancel_reason() == "mvcc: required revision has been compacted");
  CHECK(f.hub->GetStats().watchers == 0);
}

TEST_CASE("An empty key means the smallest one", "[kvstore][watch]") {
  Fixture f;
  f.Create(f.For("", kZero));
  f.Put("zz", "1");
  CHECK(Texts(f.Take()) == Words{"zz=1"});
}

TEST_CASE("Events of one revision come in one response, in order", "[kvstore][watch]") {
  Fixture f;
  f.Create(f.For("a", "c"));
  f.Put("b", "0");

  f.Write({{"b", std::nullopt}, {"x", "1"}, {"a", "1"}});

  CHECK(Texts(f.Take()) == Words{"b=0", "-b a=1"});
}

TEST_CASE("Filters drop events, and responses that would be empty", "[kvstore][watch]") {
  Fixture f;
  WatchCreateRequest no_put = f.For("a");
  no_put.add_filters(WatchCreateRequest::NOPUT);
  WatchCreateRequest no_delete = f.For("a");
  no_delete.add_filters(WatchCreateRequest::NODELETE);
  SECTION("live") {
    f.Create(no_put);
    f.Create(no_delete);
    f.Put("a", "1");
    f.Delete("a");
  }
  SECTION("from history") {
    f.Put("a", "1");
    f.Delete("a");
    no_put.set_start_revision(1);
    no_delete.set_start_revision(1);
    f.Create(no_put);
    f.Create(no_delete);
  }
  const auto responses = f.Take();
  REQUIRE(responses.size() == 4);
  for (const WatchResponse& response : responses) {
    if (response.created()) continue;
    CHECK(Text(response) == (response.watch_id() == 0 ? "-a" : "a=1"));
  }
}

TEST_CASE("Previous pairs come when asked for", "[kvstore][watch]") {
  Fixture f;
  WatchCreateRequest create = f.For("a");
  create.set_prev_kv(true);
  SECTION("live") {
    f.Create(create);
    f.Put("a", "1");
    f.Put("a", "2");
    f.Delete("a");
    CHECK(Texts(f.Take()) == Words{"a=1", "a=2(1)", "-a(2)"});
  }
  SECTION("from history") {
    f.Put("a", "1");
    f.Put("a", "2");
    f.Delete("a");
    create.set_start_revision(2);
    f.Create(create);
    CHECK(Texts(f.Take()) == Words{"a=1 a=2(1) -a(2)"});
  }
}

TEST_CASE("A start in the past replays history and goes on live", "[kvstore][watch]") {
  Fixture f;
  f.Put("a", "1");
  f.Put("b", "1");
  f.Put("a", "2");

  f.Create(f.For("a", "", 2));
  auto responses = f.Take();
  REQUIRE(responses.size() == 2);
  CHECK(Text(responses[1]) == "a=1 a=2");
  CHECK(responses[1].header().revision() == 4);

  f.Put("a", "3");
  CHECK(Texts(f.Take()) == Words{"a=3"});
}

TEST_CASE("Changes during a replay arrive once, after it", "[kvstore][watch]") {
  Fixture f;
  f.Put("a", "1");
  f.Create(f.For("a", "", 1));
  SECTION("published before the history is read") {
    f.Put("a", "2");
    CHECK(Texts(f.Take()) == Words{"a=1 a=2"});
  }
  SECTION("visible to the reader before it is published") {
    const Store::Change change = f.store.Apply({{"a", "2"}});
    CHECK(Texts(f.Take()) == Words{"a=1 a=2"});
    f.hub->Publish({change});
    f.Put("a", "3");
    CHECK(Texts(f.Take()) == Words{"a=3"});
  }
}

TEST_CASE("A start in the future delivers nothing before it", "[kvstore][watch]") {
  Fixture f;
  f.Create(f.For("a", "", 4));
  f.Put("a", "2");
  f.Put("a", "3");
  f.RequestProgress();
  CHECK(f.Take().size() == 1);  // created

  f.Put("a", "4");
  CHECK(Texts(f.Take()) == Words{"a=4"});
  f.RequestProgress();
  CHECK(f.Take().size() == 1);
}

TEST_CASE("A start that is compacted is created, then cancelled", "[kvstore][watch]") {
  Fixture f;
  f.Put("a", "1");
  f.Put("a", "2");
  f.Put("a", "3");
  f.store.Compact(3);

  SECTION("below the compacted revision") {
    f.Create(f.For("a", "", 2));
    const auto responses = f.Take();
    REQUIRE(responses.size() == 2);
    CHECK(responses[0].created());
    CHECK_FALSE(responses[0].canceled());
    CHECK(responses[1].canceled());
    CHECK(responses[1].watch_id() == 0);
    CHECK(responses[1].compact_revision() == 3);
    CHECK(responses[1].header().revision() == 0);
    CHECK(responses[1].cancel_reason().empty());
    CHECK(f.hub->GetStats().watchers == 0);
  }
  SECTION("exactly at it all is well") {
    f.Create(f.For("a", "", 3));
    CHECK(Texts(f.Take()) == Words{"a=2 a=3"});
  }
}

TEST_CASE("A cancelled watcher is answered and gets no more events", "[kvstore][watch]") {
  Fixture f;
  f.Create(f.For("a"));
  f.Create(f.For("a", "", 1));
  f.Cancel(7);  // unknown: ignored
  (void)f.Take();

  f.Cancel(0);
  f.Put("a", "1");

  const auto responses = f.Take();
  REQUIRE(responses.size() == 2);
  CHECK(responses[0].canceled());
  CHECK(responses[0].watch_id() == 0);
  CHECK(responses[0].cancel_reason().empty());
  CHECK(responses[1].watch_id() == 1);
}

TEST_CASE("A watcher cancelled while it reads history gets nothing of it", "[kvstore][watch]") {
  Fixture f;
  f.Put("a", "1");
  f.Create(f.For("a", "", 1));
  f.Cancel(0);

  const auto responses = f.Take();

  REQUIRE(responses.size() == 2);
  CHECK(responses[0].created());
  CHECK(responses[1].canceled());
}

TEST_CASE("A request of an unknown kind is ignored", "[kvstore][watch]") {
  Fixture f;
  f.stream->Handle(WatchRequest());
  CHECK(f.Take().empty());
}

TEST_CASE("Progress is answered after all events up to it", "[kvstore][watch]") {
  Fixture f;
  SECTION("without watchers there is no answer") {
    f.RequestProgress();
    CHECK(f.Take().empty());
  }
  SECTION("with all of them live") {
    f.Create(f.For("a"));
    f.Create(f.For("b"));
    f.Put("a", "1");
    f.Put("x", "1");
    f.RequestProgress();
    f.Put("b", "1");

    const auto responses = f.Take();
    REQUIRE(responses.size() == 5);
    CHECK(responses[2].header().revision() == 2);
    CHECK(responses[3].watch_id() == -1);
    CHECK(responses[3].events_size() == 0);
    CHECK(responses[3].header().revision() == 3);
    CHECK(responses[4].header().revision() == 4);
  }
  SECTION("with one that reads history there is no answer at all") {
    f.Put("a", "1");
    f.Create(f.For("a"));
    f.Create(f.For("a", "", 1));
    f.RequestProgress();
    for (const WatchResponse& response : f.Take()) CHECK(response.watch_id() != -1);
  }
  SECTION("a change that a reader may have seen is waited for") {
    f.Create(f.For("a"));
    const Store::Change change = f.store.Apply({{"a", "1"}});
    f.RequestProgress();
    CHECK(f.Take().size() == 1);
    f.hub->Publish({change});
    const auto responses = f.Take();
    REQUIRE(responses.size() == 2);
    CHECK(Text(responses[0]) == "a=1");
    CHECK(responses[1].watch_id() == -1);
    CHECK(responses[1].header().revision() == 2);
  }
}

TEST_CASE("An idle watcher is told its progress once an interval", "[kvstore][watch]") {
  Fixture f({.progress_interval = absl::Seconds(10)});
  WatchCreateRequest create = f.For("a");
  create.set_progress_notify(true);
  f.Create(create);
  f.Create(f.For("a"));
  f.Put("x", "1");
  (void)f.Take();

  f.clock.Advance(absl::Seconds(9.9));
  f.hub->Tick();
  CHECK(f.Take().empty());

  f.clock.Advance(absl::Seconds(1.1));
  f.hub->Tick();
  f.hub->Tick();
  const auto responses = f.Take();
  REQUIRE(responses.size() == 1);
  CHECK(responses[0].watch_id() == 0);
  CHECK(responses[0].header().revision() == 2);
  CHECK(responses[0].events_size() == 0);

  SECTION("and an event puts the next one off") {
    f.clock.Advance(absl::Seconds(6));
    f.Put("a", "1");
    (void)f.Take();
    f.clock.Advance(absl::Seconds(6));
    f.hub->Tick();
    CHECK(f.Take().empty());
  }
}

TEST_CASE("Large responses are cut between events only when asked", "[kvstore][watch]") {
  Fixture f({.fragment_bytes = 100});
  WatchCreateRequest create = f.For("a", "z");
  const std::vector<FakeStore::Write> writes = {
      {"a", std::string(60, '1')}, {"b", std::string(60, '2')}, {"c", std::string(60, '3')}};
  SECTION("cut, live") {
    create.set_fragment(true);
    f.Create(create);
    f.Write(writes);
  }
  SECTION("cut, from history") {
    f.Write(writes);
    create.set_fragment(true);
    create.set_start_revision(1);
    f.Create(create);
  }
  SECTION("whole") {
    f.Create(create);
    f.Write(writes);
    const auto responses = f.Take();
    REQUIRE(responses.size() == 2);
    CHECK(responses[1].events_size() == 3);
    CHECK_FALSE(responses[1].fragment());
    return;
  }
  const auto responses = f.Take();
  REQUIRE(responses.size() == 4);
  for (size_t i = 1; i < 4; ++i) {
    CHECK(responses[i].events_size() == 1);
    CHECK(responses[i].fragment() == (i < 3));
    CHECK(responses[i].header().revision() == 2);
  }
}

TEST_CASE("A reader is woken once, when there is something again", "[kvstore][watch]") {
  Fixture f;
  f.Create(f.For("a"));
  f.Put("a", "1");
  f.Put("a", "2");
  f.delivery.RunAll();
  CHECK(f.waker->wakes == 1);

  (void)f.Take();
  f.Put("a", "3");
  f.delivery.RunAll();
  CHECK(f.waker->wakes == 2);
}

TEST_CASE("A slow stream catches up from history and delays nobody", "[kvstore][watch]") {
  Fixture f({.queue_responses = 4});
  auto fast = f.Open();
  WatchRequest request;
  *request.mutable_create_request() = f.For("a");
  fast->Handle(request);
  f.Create(f.For("a"));

  size_t fast_events = 0;
  for (int i = 0; i < 50; ++i) {
    f.Put("a", std::to_string(i));
    while (fast->Next().has_value()) ++fast_events;
  }
  CHECK(fast_events == 51);
  CHECK(f.hub->GetStats().lagging == 1);

  std::string joined;
  for (const std::string& text : Texts(f.Take())) joined += text + " ";
  std::string expected;
  for (int i = 0; i < 50; ++i) expected += "a=" + std::to_string(i) + " ";
  CHECK(joined == expected);
  CHECK(f.hub->GetStats().lagging == 0);
  f.Put("a", "live");
  CHECK(Texts(f.Take()) == Words{"a=live"});
  fast->Close();
}

TEST_CASE("A slow watcher overtaken by compaction is cancelled", "[kvstore][watch]") {
  Fixture f({.queue_responses = 2});
  f.Create(f.For("a"));
  for (int i = 0; i < 10; ++i) f.Put("a", std::to_string(i));
  f.store.Compact(9);

  const auto responses = f.Take();

  REQUIRE(!responses.empty());
  CHECK(responses.back().canceled());
  CHECK(responses.back().compact_revision() == 9);
}

TEST_CASE("After a snapshot watchers read what they missed", "[kvstore][watch]") {
  Fixture f;
  f.Put("a", "1");
  f.Create(f.For("a"));
  f.Create(f.For("a", "", 100));
  (void)f.Take();
  FakeStore ahead;
  ahead.RestoreFrom(f.store);
  ahead.Apply({{"a", "2"}});
  ahead.Apply({{"a", "3"}});

  f.store.RestoreFrom(ahead);
  f.hub->Restored();

  CHECK(Texts(f.Take()) == Words{"a=2 a=3"});
  f.Put("a", "4");
  CHECK(Texts(f.Take()) == Words{"a=4"});
}

TEST_CASE("A closed stream is forgotten", "[kvstore][watch]") {
  Fixture f;
  f.Put("a", "1");
  f.Create(f.For("a"));
  f.Create(f.For("a", "", 1));
  f.stream->Close();

  f.Put("a", "2");
  f.catch_up.RunAll();
  f.Create(f.For("a"));

  CHECK(f.Take().empty());
  CHECK(f.hub->GetStats().watchers == 0);
  CHECK(f.hub->GetStats().lagging == 0);
  CHECK(f.hub->GetStats().streams == 0);
}

// The naive twin looks at every change for every watcher. Small queues and
// batches make watchers lag often; work of the executors is interleaved by the
// seed.
TEST_CASE("Random watchers get what the naive twin says", "[kvstore][watch]") {
  const uint64_t seed = GENERATE(range<uint64_t>(1, 80));
  INFO("seed " << seed);
  keelson::Random random(seed);
  Fixture f({.queue_responses = 1 + random.Below(6), .history_revisions = 1 + random.Below(5)});
  const auto key = [&] { return std::string(1, static_cast<char>('a' + random.Below(6))); };

  struct Twin {
    WatchCreateRequest create;
    int64_t first = 0;
    int64_t end = 0;  // cancelled before this revision was made; 0: alive
    std::vector<mvccpb::Event> got;
    int64_t last_revision = 0;
  };
  std::vector<Twin> twins;
  std::vector<Store::Change> history;
  std::map<int64_t, bool> closed;
  const auto take = [&](size_t limit) {
    for (size_t i = 0; i < limit; ++i) {
      const std::optional<WatchResponse> response = f.Next();
      if (!response.has_value()) return;
      if (response->canceled()) closed[response->watch_id()] = true;
      if (response->events_size() == 0) continue;
      Twin& twin = twins.at(static_cast<size_t>(response->watch_id()));
      REQUIRE_FALSE(closed[response->watch_id()]);
      // Atomic: the next response starts at a later revision.
      REQUIRE(response->events(0).kv().mod_revision() > twin.last_revision);
      twin.last_revision = response->events().rbegin()->kv().mod_revision();
      REQUIRE(response->header().revision() >= twin.last_revision);
      for (const mvccpb::Event& event : response->events()) twin.got.push_back(event);
    }
  };

  for (int step = 0; step < 300; ++step) {
    switch (random.Below(7)) {
      case 0: {
        Twin twin;
        twin.create = f.For(key(),
                            random.Bernoulli(0.3)   ? ""
                            : random.Bernoulli(0.3) ? kZero
                                                    : "f",
                            random.Bernoulli(0.5) ? 0 : random.Between(1, f.store.Revision() + 3));
        if (twin.create.key() >= "f" && twin.create.range_end() == "f") break;
        if (random.Bernoulli(0.2)) twin.create.add_filters(WatchCreateRequest::NOPUT);
        if (random.Bernoulli(0.2)) twin.create.add_filters(WatchCreateRequest::NODELETE);
        twin.create.set_prev_kv(random.Bernoulli(0.3));
        twin.first = twin.create.start_revision();
        if (twin.first == 0) twin.first = f.store.Revision() + 1;
        twins.push_back(twin);
        f.Create(twin.create);
        break;
      }
      case 1: {
        if (twins.empty() || random.Bernoulli(0.7)) break;
        const size_t at = random.Below(twins.size());
        if (twins[at].end != 0) break;
        twins[at].end = f.store.Revision() + 1;
        f.Cancel(static_cast<int64_t>(at));
        break;
      }
      case 2:
        (void)f.catch_up.RunOne();
        break;
      case 3:
        take(random.Below(4));
        break;
      default: {
        std::vector<FakeStore::Write> writes;
        for (char c = 'a'; c < 'g'; ++c) {
          if (!random.Bernoulli(0.3)) continue;
          const std::string k(1, c);
          writes.push_back(
              {k, random.Bernoulli(0.3) ? std::nullopt : std::optional(std::to_string(step))});
        }
        Store::Change change = f.store.Apply(writes);
        if (change.events.empty()) break;
        history.push_back(change);
        f.hub->Publish({change});
      }
    }
  }
  do {
    f.catch_up.RunAll();
    take(1000);
  } while (f.catch_up.RunOne());

  for (size_t id = 0; id < twins.size(); ++id) {
    const Twin& twin = twins[id];
    INFO("watcher " << id);
    std::vector<mvccpb::Event> expected;
    for (const Store::Change& change : history) {
      if (change.revision < twin.first || (twin.end != 0 && change.revision >= twin.end)) continue;
      for (mvccpb::Event event : change.events) {
        const KeyRange range{twin.create.key(), twin.create.range_end()};
        if (!FakeStore::InRange(range, event.kv().key())) continue;
        bool dropped = false;
        for (const int filter : twin.create.filters()) {
          dropped |= (filter == WatchCreateRequest::NOPUT) == (event.type() == mvccpb::Event::PUT);
        }
        if (dropped) continue;
        const auto before = f.store.GetAt(event.kv().key(), change.revision - 1);
        if (twin.create.prev_kv() && before.ok()) *event.mutable_prev_kv() = *before;
        expected.push_back(event);
      }
    }
    // A cancelled watcher that lagged may have got only the beginning.
    if (twin.end != 0) expected.resize(std::min(expected.size(), twin.got.size()));
    REQUIRE(twin.got.size() == expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      REQUIRE(twin.got[i].SerializeAsString() == expected[i].SerializeAsString());
    }
  }
}
