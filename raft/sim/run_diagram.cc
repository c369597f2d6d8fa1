#include "raft/sim/run_diagram.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "raft/sim/run_diagram_page.h"

namespace keelson::raft::sim {
namespace {

using Json = nlohmann::json;

// Traces about one node, its id first, that are shown as marks of its lane.
constexpr std::array<std::string_view, 12> kMarks = {
    "crash", "start",      "start failed", "fatal",    "pause",    "suspend",
    "clock", "disk stall", "full disk",    "bad sync", "restored", "membership"};
// And those about two nodes or none.
constexpr std::array<std::string_view, 8> kNetwork = {"cut",  "join",   "whole",   "partition",
                                                      "clog", "unclog", "swizzle", "heal"};

template <size_t n>
bool IsOneOf(const std::array<std::string_view, n>& names, std::string_view what) {
  return std::find(names.begin(), names.end(), what) != names.end();
}

std::string Escaped(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '&':
        html += "&amp;";
        break;
      case '"':
        html += "&quot;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

// For a script element, which ends at the first "</script", wherever that stands.
std::string ForScript(const Json& json) {
  std::string text;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
    text += c == '<' ? std::string("\\u003c") : std::string(1, c);
  }
  return text;
}

std::string Text(std::string_view what, std::span<const uint64_t> numbers) {
  std::string text(what);
  for (const uint64_t number : numbers) absl::StrAppend(&text, " ", number);
  return text;
}

std::string TypeName(uint64_t type) {
  const std::string_view name = MessageTypeName(static_cast<MessageType>(type));
  return std::string(name.substr(name.starts_with("Msg") ? 3 : 0));
}

// Of a trace "send": packet, from, to, type, term, log term, index, entries, commit, reject, hint.
Json Message(int64_t time, std::span<const uint64_t> n) {
  std::string text = absl::StrCat(n[1], " to ", n[2], ": ", TypeName(n[3]), " term ", n[4]);
  if (n[6] != 0) absl::StrAppend(&text, ", index ", n[6], " of term ", n[5]);
  if (n[7] != 0) absl::StrAppend(&text, ", ", n[7], " entries");
  if (n[8] != 0) absl::StrAppend(&text, ", commit ", n[8]);
  if (n[9] != 0) absl::StrAppend(&text, ", refused, hint ", n[10]);
  return {{"t", time},           {"from", n[1]}, {"to", n[2]}, {"kind", TypeName(n[3])},
          {"refuse", n[9] != 0}, {"text", text}, {"fate", ""}, {"end", nullptr}};
}

// What clients do, by client: "write" and "read" begin, the others end.
class ClientLane {
 public:
  void Take(int64_t time, std::string_view what, std::span<const uint64_t> n) {
    const auto open = open_.find(n[0]);
    if (what == "write" || what == "read") {
      if (open != open_.end()) {
        if (what == "write" && open->second["kind"] == "write") return;  // Tried again.
        open->second["text"] = absl::StrCat(open->second["text"].get<std::string>(), ", given up");
        open->second["end"] = time;
        open->second["outcome"] = "given up";
        done_.push_back(std::move(open->second));
      }
      Json operation = {{"client", n[0]},
                        {"kind", what},
                        {"t", time},
                        {"end", nullptr},
                        {"text", absl::StrCat("client ", n[0], ": ", Text(what, n.subspan(1)))}};
      open_[n[0]] = std::move(operation);
      return;
    }
    if (open == open_.end()) return;
    open->second["end"] = time;
    open->second["outcome"] = what;
    open->second["text"] =
        absl::StrCat(open->second["text"].get<std::string>(), ", ", Text(what, n.subspan(1)));
    done_.push_back(std::move(open->second));
    open_.erase(open);
  }
  [[nodiscard]] Json All() const {
    Json all = done_;
    for (const auto& [client, operation] : open_) all.push_back(operation);
    return all;
  }

 private:
  std::map<uint64_t, Json> open_;
  Json done_ = Json::array();
};

}  // namespace

void RunDiagram::OnTrace(int64_t time, std::string_view what, std::span<const uint64_t> numbers) {
  items_.push_back({step_, time, std::string(what), {numbers.begin(), numbers.end()}});
}

void RunDiagram::OnState(int64_t time, NodeId node, const Node::Snapshot* peek) {
  State state{.step = step_, .time = time, .node = node, .role = -1, .term = 0, .commit = 0};
  if (peek != nullptr) {
    state.role = static_cast<int>(peek->soft_state.role);
    state.term = peek->term;
    state.commit = peek->commit;
  }
  const auto [last, fresh] = last_.try_emplace(node, state);
  if (fresh) before_[node] = state;
  if (!fresh && last->second.role == state.role && last->second.term == state.term &&
      last->second.commit == state.commit) {
    return;
  }
  last->second = state;
  states_.push_back(state);
}

void RunDiagram::EndStep() {
  ++step_;
  const uint64_t first = step_ > options_.steps ? step_ - options_.steps : 0;
  while (!items_.empty() && items_.front().step < first) items_.pop_front();
  while (!states_.empty() && states_.front().step < first) {
    before_[states_.front().node] = states_.front();
    states_.pop_front();
  }
}

std::string RunDiagram::Data(const Facts& facts) const {
  Json messages = Json::array();
  Json marks = Json::array();
  Json network = Json::array();
  ClientLane clients;
  std::map<uint64_t, size_t> sent;  // packet -> place in `messages`
  for (const Item& item : items_) {
    const std::vector<uint64_t>& n = item.numbers;
    if (item.what == "send" && n.size() >= 11) {
      sent[n[0]] = messages.size();
      messages.push_back(Message(item.time, n));
    } else if ((item.what == "arrive" || item.what == "lost") && !n.empty()) {
      const auto message = sent.find(n[0]);
      if (message == sent.end()) continue;
      // One that was doubled arrives twice: the first time is shown.
      if (!messages[message->second]["end"].is_null()) continue;
      messages[message->second]["end"] = item.time;
      messages[message->second]["fate"] = item.what;
    } else if (IsOneOf(kMarks, item.what) && !n.empty()) {
      marks.push_back(
          {{"t", item.time}, {"node", n[0]}, {"kind", item.what}, {"text", Text(item.what, n)}});
    } else if (IsOneOf(kNetwork, item.what)) {
      network.push_back({{"t", item.time}, {"kind", item.what}, {"text", Text(item.what, n)}});
    } else if ((item.what == "write" || item.what == "read" || item.what == "written" ||
                item.what == "answer" || item.what == "refused") &&
               !n.empty()) {
      clients.Take(item.time, item.what, n);
    }
  }
  const int64_t begin = std::min(items_.empty() ? facts.end : items_.front().time, facts.end);
  Json nodes = Json::array();
  Json states = Json::array();
  const auto add = [&states](const State& state, int64_t time) {
    states.push_back({{"t", time},
                      {"node", state.node},
                      {"role", state.role},
                      {"term", state.term},
                      {"commit", state.commit}});
  };
  for (const auto& [node, state] : before_) {
    nodes.push_back(node);
    add(state, begin);
  }
  for (const State& state : states_) add(state, state.time);
  return ForScript({{"begin", begin},
                    {"end", facts.end},
                    {"violation", facts.violation},
                    {"nodes", nodes},
                    {"states", states},
                    {"messages", messages},
                    {"marks", marks},
                    {"network", network},
                    {"clients", clients.All()}});
}

std::string RunDiagram::Html(const Facts& facts) const {
  std::string banner;
  if (facts.violation.empty()) {
    banner = "<p class=\"good\">No invariant broke.</p>";
  } else {
    banner = absl::StrCat("<p class=\"bad\">", Escaped(facts.violation), "</p>");
  }
  return absl::StrCat("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>",
                      Escaped(facts.title), "</title>\n<style>", kPageStyle,
                      "</style></head>\n<body><header><h1>", Escaped(facts.title), "</h1>", banner,
                      "<details><summary>Show the run again</summary><code>", Escaped(facts.replay),
                      "</code><p>", Escaped(facts.swarm), "</p></details>", kPageControls,
                      "</header>\n<main id=\"view\"><div id=\"all\"></div></main>\n",
                      "<script type=\"application/json\" id=\"data\">", Data(facts),
                      "</script>\n<script>", kPageScript, "</script></body></html>\n");
}

}  // namespace keelson::raft::sim
