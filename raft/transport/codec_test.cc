#include "raft/transport/codec.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <catch2/catch.hpp>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "raft/transport/raft.pb.h"

namespace keelson::raft {
namespace {

using absl::StatusCode;
namespace pb = transport::v1;

std::string Joined(const WireBatch& batch) {
  std::string bytes;
  for (const WirePiece& piece : batch.pieces) bytes += piece.view();
  CHECK(bytes.size() == batch.bytes);
  return bytes;
}

absl::StatusOr<DecodedBatch> Decode(const std::string& bytes, const DecodeLimits& limits = {}) {
  google::protobuf::io::ArrayInputStream in(bytes.data(), static_cast<int>(bytes.size()));
  return DecodeBatch(in, limits);
}

// From node 1 to node 2 in term 1.
Message MakeMessage(MessageType type) {
  Message message;
  message.type = type;
  message.to = 2;
  message.from = 1;
  message.term = 1;
  return message;
}

uint64_t RandomNumber(Random& random) {
  // Of every length in bits, so that every varint length occurs.
  return random() >> random.Below(64);
}

std::vector<NodeId> RandomIds(Random& random) {
  std::vector<NodeId> ids;
  NodeId id = 0;
  for (uint64_t n = random.Below(4); n > 0; --n) ids.push_back(id += 1 + random.Below(300));
  return ids;
}

// A message that a peer may send.
Message RandomMessage(Random& random) {
  static constexpr MessageType kTypes[] = {MessageType::kApp, MessageType::kSnap,
                                           MessageType::kProp, MessageType::kHeartbeatResp,
                                           MessageType::kPreVote};
  Message m;
  m.type = kTypes[random.Below(5)];
  m.to = 1 + random.Below(1000);
  m.from = 1 + random.Below(1000);
  m.term = RandomNumber(random);
  m.log_term = m.term == 0 ? 0 : random.Below(m.term);
  m.index = RandomNumber(random) / 2;
  m.commit = RandomNumber(random);
  m.vote = RandomNumber(random);
  m.reject = random.Bernoulli(0.5);
  m.reject_hint = RandomNumber(random);
  m.context = std::string(random.Below(40), 'c');
  if (m.type == MessageType::kApp || m.type == MessageType::kProp) {
    const uint64_t count = random.Below(5);
    for (uint64_t i = 1; i <= count; ++i) {
      const size_t bytes = random.Bernoulli(0.2) ? 4096 + random.Below(9000) : random.Below(300);
      m.entries.push_back({.term = m.term,
                           .index = m.index + i,
                           .type = static_cast<EntryType>(random.Below(3)),
                           .data = Payload(std::string(bytes, static_cast<char>('a' + i)))});
    }
  }
  if (m.type == MessageType::kSnap) {
    Snapshot snapshot;
    snapshot.metadata.index = 1 + RandomNumber(random) / 2;
    snapshot.metadata.term = 1 + RandomNumber(random) / 2;
    snapshot.metadata.conf_state = {.voters = RandomIds(random),
                                    .learners = RandomIds(random),
                                    .voters_outgoing = RandomIds(random),
                                    .learners_next = RandomIds(random),
                                    .auto_leave = random.Bernoulli(0.5)};
    snapshot.data = Payload(std::string(random.Below(6000), 's'));
    m.snapshot = snapshot;
  }
  return m;
}

// The naive twin: protobuf's own setters.
void ToProto(const Message& m, pb::Message* proto) {
  proto->set_type(static_cast<uint32_t>(m.type));
  proto->set_to(m.to);
  proto->set_from(m.from);
  proto->set_term(m.term);
  proto->set_log_term(m.log_term);
  proto->set_index(m.index);
  proto->set_commit(m.commit);
  proto->set_vote(m.vote);
  proto->set_commit_term(m.commit_term);
  proto->set_reject(m.reject);
  proto->set_reject_hint(m.reject_hint);
  proto->set_context(m.context);
  for (const Entry& entry : m.entries) {
    pb::Entry* to = proto->add_entries();
    to->set_type(static_cast<uint32_t>(entry.type));
    to->set_term(entry.term);
    to->set_index(entry.index);
    to->set_data(std::string(entry.data.view()));
  }
  if (!m.snapshot.has_value()) return;
  pb::Snapshot* snapshot = proto->mutable_snapshot();
  snapshot->set_data(std::string(m.snapshot->data.view()));
  const SnapshotMetadata& metadata = m.snapshot->metadata;
  snapshot->mutable_metadata()->set_index(metadata.index);
  snapshot->mutable_metadata()->set_term(metadata.term);
  pb::ConfState* conf = snapshot->mutable_metadata()->mutable_conf_state();
  for (const NodeId id : metadata.conf_state.voters) conf->add_voters(id);
  for (const NodeId id : metadata.conf_state.learners) conf->add_learners(id);
  for (const NodeId id : metadata.conf_state.voters_outgoing) conf->add_voters_outgoing(id);
  for (const NodeId id : metadata.conf_state.learners_next) conf->add_learners_next(id);
  conf->set_auto_leave(metadata.conf_state.auto_leave);
}

TEST_CASE("What is written by hand is what protobuf writes", "[raft][transport][codec]") {
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    std::vector<Message> messages;
    pb::Batch naive;
    for (uint64_t n = random.Below(4); n > 0; --n) {
      messages.push_back(RandomMessage(random));
      ToProto(messages.back(), naive.add_messages());
      REQUIRE(EncodedBytes(messages.back()) >= naive.messages().rbegin()->ByteSizeLong());
    }
    const uint64_t probe = RandomNumber(random);
    naive.set_probe(probe);

    const std::string bytes = Joined(EncodeBatch(messages, probe));

    pb::Batch parsed;
    REQUIRE(parsed.ParseFromString(bytes));
    REQUIRE(parsed.SerializeAsString() == naive.SerializeAsString());
    REQUIRE(bytes.size() == naive.ByteSizeLong());
    KEELSON_ASSIGN_OR_FAIL(const DecodedBatch decoded, Decode(bytes));
    REQUIRE(decoded.messages == messages);
    REQUIRE(decoded.probe == probe);
  }
}

TEST_CASE("Large payloads are shared, not copied", "[raft][transport][codec]") {
  Message m = MakeMessage(MessageType::kApp);
  m.entries = {{.term = 1, .index = 1, .data = Payload(std::string(100, 's'))},
               {.term = 1, .index = 2, .data = Payload(std::string(5000, 'L'))}};

  const WireBatch batch = EncodeBatch({&m, 1}, 0);

  REQUIRE(batch.pieces.size() == 2);
  CHECK(batch.pieces[1].view().data() == m.entries[1].data.view().data());
}

TEST_CASE("Responses of storage messages never travel", "[raft][transport][codec]") {
  Message m = MakeMessage(MessageType::kHeartbeat);
  const std::string without = Joined(EncodeBatch({&m, 1}, 0));
  m.responses.resize(3);
  CHECK(Joined(EncodeBatch({&m, 1}, 0)) == without);
}

TEST_CASE("Bytes that are no batch are refused", "[raft][transport][codec]") {
  Message m = MakeMessage(MessageType::kApp);
  m.entries = {{.term = 1, .index = 1, .data = Payload("data")}};
  const std::string good = Joined(EncodeBatch({&m, 1}, 0));
  KEELSON_REQUIRE_OK(Decode(good));
  for (size_t n = 1; n < good.size(); ++n) {
    KEELSON_CHECK_ERROR(Decode(good.substr(0, n)), StatusCode::kInvalidArgument, "not a batch");
  }
  // A length of 2^64 - 1, of 2^31, and a group that never ends.
  for (const char* bytes :
       {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x0a\x80\x80\x80\x80\x08", "\x0b",
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}) {
    KEELSON_CHECK_ERROR(Decode(bytes), StatusCode::kInvalidArgument, "not a batch");
  }
}

TEST_CASE("A message that no peer may send is refused", "[raft][transport][codec]") {
  struct Row {
    std::string name;
    std::function<void(pb::Message&)> change;
    std::string text;
  };
  const auto entry = [](pb::Message& m, uint64_t index, uint64_t term, uint32_t type = 0) {
    pb::Entry* to = m.add_entries();
    to->set_index(index);
    to->set_term(term);
    to->set_type(type);
  };
  const auto snap = [](pb::Message& m, uint64_t index, uint64_t term) {
    m.set_type(static_cast<uint32_t>(MessageType::kSnap));
    m.mutable_snapshot()->mutable_metadata()->set_index(index);
    m.mutable_snapshot()->mutable_metadata()->set_term(term);
    return m.mutable_snapshot()->mutable_metadata()->mutable_conf_state();
  };
  const std::vector<Row> rows = {
      {"hup", [](pb::Message& m) { m.set_type(0); }, "type 0 cannot come"},
      {"storage append", [](pb::Message& m) { m.set_type(19); }, "type 19 cannot come"},
      {"unknown type", [](pb::Message& m) { m.set_type(24); }, "type 24 cannot come"},
      {"type 2^32-1", [](pb::Message& m) { m.set_type(~0u); }, "cannot come"},
      {"no sender", [](pb::Message& m) { m.set_from(0); }, "without sender"},
      {"no addressee", [](pb::Message& m) { m.set_to(0); }, "without sender"},
      {"append thread", [](pb::Message& m) { m.set_from(~uint64_t{0}); }, "without sender"},
      {"apply thread", [](pb::Message& m) { m.set_to(~uint64_t{0} - 1); }, "without sender"},
      {"entry gap", [&](pb::Message& m) { entry(m, 12, 5); }, "entry 12 does not follow 10"},
      {"entry repeated", [&](pb::Message& m) { entry(m, 11, 5), entry(m, 11, 5); },
       "entry 11 does not follow 11"},
      {"index overflow", [&](pb::Message& m) { m.set_index(~uint64_t{0}), entry(m, 0, 5); },
       "does not follow"},
      {"term goes back", [&](pb::Message& m) { entry(m, 11, 5), entry(m, 12, 4); }, "of term 4"},
      {"term before log term", [&](pb::Message& m) { entry(m, 11, 2); }, "of term 2"},
      {"term after the message", [&](pb::Message& m) { entry(m, 11, 6); }, "of term 6"},
      {"entry type", [&](pb::Message& m) { entry(m, 11, 5, 3); }, "unknown type 3"},
      {"snap without snapshot", [](pb::Message& m) { m.set_type(7); }, "belongs into a Snap"},
      {"snapshot elsewhere",
       [&](pb::Message& m) { snap(m, 1, 1), m.set_type(static_cast<uint32_t>(MessageType::kApp)); },
       "belongs into a Snap"},
      {"snapshot at 0", [&](pb::Message& m) { snap(m, 0, 1); }, "of nothing"},
      {"snapshot of term 0", [&](pb::Message& m) { snap(m, 1, 0); }, "of nothing"},
      {"voters unsorted",
       [&](pb::Message& m) {
         auto* conf = snap(m, 1, 1);
         conf->add_voters(2), conf->add_voters(1);
       },
       "ascending"},
      {"voter twice",
       [&](pb::Message& m) {
         auto* conf = snap(m, 1, 1);
         conf->add_voters(2), conf->add_voters(2);
       },
       "ascending"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      pb::Batch batch;
      pb::Message* m = batch.add_messages();
      m->set_type(static_cast<uint32_t>(MessageType::kApp));
      m->set_to(2);
      m->set_from(1);
      m->set_term(5);
      m->set_log_term(3);
      m->set_index(10);
      KEELSON_REQUIRE_OK(Decode(batch.SerializeAsString()));
      row.change(*m);
      KEELSON_CHECK_ERROR(Decode(batch.SerializeAsString()), StatusCode::kInvalidArgument,
                          row.text);
    }
  }
}

TEST_CASE("Limits are kept", "[raft][transport][codec]") {
  Message app = MakeMessage(MessageType::kApp);
  app.entries = {{.term = 1, .index = 1, .data = {}}, {.term = 1, .index = 2, .data = {}}};
  app.context = "1234";
  Message snap = MakeMessage(MessageType::kSnap);
  snap.snapshot.emplace();
  snap.snapshot->metadata.index = 1;
  snap.snapshot->metadata.term = 1;
  snap.snapshot->metadata.conf_state.learners = {1, 2, 3};
  const std::string bytes = Joined(EncodeBatch(std::vector<Message>{app, snap}, 0));

  KEELSON_REQUIRE_OK(Decode(
      bytes, {.max_messages = 2, .max_entries = 2, .max_members = 3, .max_context_bytes = 4}));
  KEELSON_CHECK_ERROR(Decode(bytes, {.max_messages = 1}), StatusCode::kInvalidArgument,
                      "too many messages");
  KEELSON_CHECK_ERROR(Decode(bytes, {.max_entries = 1}), StatusCode::kInvalidArgument,
                      "too many entries");
  KEELSON_CHECK_ERROR(Decode(bytes, {.max_members = 2}), StatusCode::kInvalidArgument,
                      "too many members");
  KEELSON_CHECK_ERROR(Decode(bytes, {.max_context_bytes = 3}), StatusCode::kInvalidArgument,
                      "too long a context");
}

}  // namespace
}  // namespace keelson::raft
