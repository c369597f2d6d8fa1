#include "raft/sim/run_diagram.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "raft/sim/sim_cluster.h"

namespace keelson::raft::sim {
namespace {

// The data that the page shows.
nlohmann::json DataOf(const std::string& html) {
  const std::string open = "id=\"data\">";
  const size_t begin = html.find(open) + open.size();
  return nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
}

void Trace(RunDiagram& diagram, int64_t time, const char* what, std::vector<uint64_t> numbers) {
  diagram.OnTrace(time, what, numbers);
}

// A vote request of node 1 for node 2.
std::vector<uint64_t> Sent(uint64_t packet) { return {packet, 1, 2, 5, 7, 3, 9, 0, 4, 0, 0}; }

TEST_CASE("Messages end where they arrive, are lost, or not at all", "[raft][sim][diagram]") {
  RunDiagram diagram({.steps = 10});
  Trace(diagram, 100, "send", Sent(1));
  Trace(diagram, 110, "send", Sent(2));
  Trace(diagram, 120, "send", Sent(3));
  Trace(diagram, 150, "arrive", {2});
  Trace(diagram, 160, "lost", {1});
  Trace(diagram, 170, "arrive", {2});
  Trace(diagram, 180, "arrive", {99});  // sent before what is shown
  const nlohmann::json messages = DataOf(diagram.Html({.end = 200}))["messages"];
  REQUIRE(messages.size() == 3);
  CHECK(messages[0]["fate"] == "lost");
  CHECK(messages[0]["kind"] == "Vote");
  CHECK(messages[1]["end"] == 150);
  CHECK(messages[1]["text"] == "1 to 2: Vote term 7, index 9 of term 3, commit 4");
  CHECK(messages[2]["end"].is_null());
}

TEST_CASE("Only the last steps are kept, with the states in which they began",
          "[raft][sim][diagram]") {
  RunDiagram diagram({.steps = 3});
  Node::Snapshot peek;
  for (int64_t step = 0; step < 50; ++step) {
    peek.term = static_cast<Term>(step / 10);
    Trace(diagram, step, "crash", {1, 0});
    diagram.OnState(step, 1, step == 49 ? nullptr : &peek);
    diagram.EndStep();
  }
  const nlohmann::json data = DataOf(diagram.Html({.end = 50}));
  CHECK(data["marks"].size() == 3);
  REQUIRE(data["states"].size() == 2);
  CHECK(data["states"][0]["term"] == 4);
  CHECK(data["states"][0]["t"] == data["begin"]);
  CHECK(data["states"][1]["role"] == -1);
}

TEST_CASE("What clients do begins and ends, or is given up", "[raft][sim][diagram]") {
  RunDiagram diagram({.steps = 10});
  Trace(diagram, 10, "write", {1, 5, 2, 1});
  Trace(diagram, 20, "write", {1, 5, 3, 0});  // the same one again
  Trace(diagram, 30, "written", {1, 5, 77});
  Trace(diagram, 40, "read", {1, 2});
  Trace(diagram, 50, "write", {1, 6, 2, 1});
  const nlohmann::json clients = DataOf(diagram.Html({.end = 60}))["clients"];
  REQUIRE(clients.size() == 3);
  CHECK(clients[0]["t"] == 10);
  CHECK(clients[0]["end"] == 30);
  CHECK(clients[1]["outcome"] == "given up");
  CHECK(clients[2]["end"].is_null());
}

TEST_CASE("No text becomes a part of the page's markup", "[raft][sim][diagram]") {
  RunDiagram diagram({.steps = 10});
  const std::string evil = "</script><script>alert(\"1\")</script> & 'x'";
  const std::string html =
      diagram.Html({.title = evil, .violation = evil, .replay = evil, .swarm = evil, .end = 5});
  CHECK(html.find("<script>alert") == std::string::npos);
  CHECK(html.find("&lt;/script&gt;&lt;script&gt;alert(&quot;1&quot;)") != std::string::npos);
  CHECK(DataOf(html)["violation"] == evil);
}

TEST_CASE("The page needs nothing from elsewhere", "[raft][sim][diagram]") {
  RunDiagram diagram({.steps = 500});
  const RunResult plain = RunSeed({.seed = 3});
  const RunResult drawn = RunSeed({.seed = 3, .diagram = &diagram});
  // To draw a run does not change it.
  CHECK(plain.trace_hash == drawn.trace_hash);
  const std::string html =
      diagram.Html({.title = "seed 3", .end = absl::ToInt64Nanoseconds(drawn.virtual_time)});
  for (const char* reference : {"src=", "href=", "url(http", "@import", "fetch("}) {
    INFO(reference);
    CHECK(html.find(reference) == std::string::npos);
  }
  const nlohmann::json data = DataOf(html);
  CHECK(data["nodes"].size() >= 3);
  CHECK(!data["messages"].empty());
  CHECK(html.size() < 1'000'000);
}

}  // namespace
}  // namespace keelson::raft::sim
