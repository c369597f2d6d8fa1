// The same as raft_member_bench.cc with Debian's libraft (libraft-dev, with libuv) instead of ours:
// one member of a cluster of processes, with the load generator inside.
//
//   libraft_member_bench ID FOLDER HOST:PORT,HOST:PORT,HOST:PORT BYTES
//
// Commands on standard input, answers in JSON: "leads", "load OUTSTANDING SECONDS". Not a target
// of the build, which does not need libraft: tools/bench/raft compiles it when it is installed.
#include <uv.h>

extern "C" {  // Its headers are C only.
#include <raft.h>
#include <raft/uv.h>
}

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

namespace {

using SteadyClock = std::chrono::steady_clock;

// As our side keeps its log.
constexpr unsigned kSnapshotThreshold = 10'000;
constexpr unsigned kSnapshotTrailing = 5'000;

void Check(int result, const char* what) {
  if (result == 0) return;
  std::fprintf(stderr, "%s: %s\n", what, raft_strerror(result));
  std::exit(1);
}

class Member;

struct Slot {
  Member* member;
  struct raft_apply request;
  SteadyClock::time_point started;
};

// All of it runs on the one thread of the loop.
class Member {
 public:
  Member(raft_id id, const std::string& dir, const std::vector<std::string>& peers, size_t bytes)
      : bytes_(bytes) {
    Check(uv_loop_init(&loop_), "uv_loop_init");
    Check(raft_uv_tcp_init(&transport_, &loop_), "raft_uv_tcp_init");
    Check(raft_uv_init(&io_, &loop_, dir.c_str(), &transport_), "raft_uv_init");
    fsm_ = {};
    fsm_.version = 1;
    fsm_.data = this;
    fsm_.apply = [](raft_fsm*, const raft_buffer*, void** result) {
      *result = nullptr;
      return 0;
    };
    fsm_.snapshot = [](raft_fsm*, raft_buffer* buffers[], unsigned* count) {
      *count = 1;
      *buffers = static_cast<raft_buffer*>(raft_malloc(sizeof(raft_buffer)));
      (*buffers)->len = 8;
      (*buffers)->base = raft_calloc(1, 8);
      return 0;
    };
    fsm_.restore = [](raft_fsm*, raft_buffer* buffer) {
      raft_free(buffer->base);
      return 0;
    };
    Check(raft_init(&raft_, &io_, &fsm_, id, peers[id - 1].c_str()), "raft_init");
    raft_set_snapshot_threshold(&raft_, kSnapshotThreshold);
    raft_set_snapshot_trailing(&raft_, kSnapshotTrailing);
    raft_set_pre_vote(&raft_, true);
    struct raft_configuration configuration = {};
    raft_configuration_init(&configuration);
    for (size_t i = 0; i < peers.size(); ++i) {
      Check(raft_configuration_add(&configuration, i + 1, peers[i].c_str(), RAFT_VOTER),
            "raft_configuration_add");
    }
    Check(raft_bootstrap(&raft_, &configuration), "raft_bootstrap");
    raft_configuration_close(&configuration);
    Check(raft_start(&raft_), "raft_start");
  }

  void Serve() {
    Check(uv_pipe_init(&loop_, &input_, 0), "uv_pipe_init");
    Check(uv_pipe_open(&input_, 0), "uv_pipe_open");
    input_.data = this;
    Check(uv_read_start(
              reinterpret_cast<uv_stream_t*>(&input_),
              [](uv_handle_t*, size_t, uv_buf_t* buffer) {
                static char bytes[4096];
                *buffer = uv_buf_init(bytes, sizeof(bytes));
              },
              [](uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
                if (size < 0) std::exit(0);  // Its data are thrown away anyway.
                static_cast<Member*>(stream->data)->OnInput({buffer->base, buffer->base + size});
              }),
          "uv_read_start");
    uv_run(&loop_, UV_RUN_DEFAULT);
  }

 private:
  void OnInput(const std::string& bytes) {
    line_ += bytes;
    for (size_t end = 0; (end = line_.find('\n')) != std::string::npos;) {
      std::istringstream words(line_.substr(0, end));
      line_.erase(0, end + 1);
      std::string verb;
      words >> verb;
      if (verb == "leads") {
        std::printf("{\"leads\":%s}\n", raft_state(&raft_) == RAFT_LEADER ? "true" : "false");
        std::fflush(stdout);
      } else if (verb == "load") {
        int outstanding = 1;
        double seconds = 1;
        words >> outstanding >> seconds;
        Begin(outstanding, seconds);
      }
    }
  }

  void Begin(int outstanding, double seconds) {
    start_ = SteadyClock::now();
    end_ = start_ + std::chrono::duration_cast<SteadyClock::duration>(
                        std::chrono::duration<double>(seconds));
    latencies_us_.clear();
    errors_ = 0;
    running_ = outstanding;
    slots_.assign(static_cast<size_t>(outstanding),
                  Slot{.member = this, .request = {}, .started = {}});
    for (Slot& slot : slots_) Propose(slot);
  }

  void Propose(Slot& slot) {
    slot.started = SteadyClock::now();
    raft_buffer buffer = {};
    buffer.len = bytes_;
    buffer.base = raft_malloc(bytes_);
    std::memset(buffer.base, 'x', bytes_);
    slot.request.data = &slot;
    const int result = raft_apply(&raft_, &slot.request, &buffer, 1,
                                  [](struct raft_apply* request, int status, void*) {
                                    auto* const done = static_cast<Slot*>(request->data);
                                    done->member->Done(*done, status);
                                  });
    if (result != 0) Fail(raft_errmsg(&raft_));
  }

  void Done(Slot& slot, int status) {
    if (status != 0) return Fail(raft_strerror(status));
    const auto now = SteadyClock::now();
    latencies_us_.push_back(static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(now - slot.started).count()));
    if (now < end_) return Propose(slot);
    if (--running_ == 0) Report();
  }

  void Fail(const char* why) {
    if (errors_++ == 0) std::fprintf(stderr, "refused: %s\n", why);
    if (--running_ == 0) Report();
  }

  void Report() {
    const double elapsed = std::chrono::duration<double>(SteadyClock::now() - start_).count();
    std::vector<uint32_t>& all = latencies_us_;
    std::sort(all.begin(), all.end());
    const auto percentile = [&](double p) {
      if (all.empty()) return 0U;
      return all[std::min(all.size() - 1,
                          static_cast<size_t>(p * static_cast<double>(all.size())))];
    };
    std::printf(
        "{\"outstanding\":%zu,\"ops\":%zu,\"errors\":%d,\"seconds\":%.3f,\"ops_per_second\":%.0f,"
        "\"p50_us\":%u,\"p99_us\":%u}\n",
        slots_.size(), all.size(), errors_, elapsed, static_cast<double>(all.size()) / elapsed,
        percentile(0.5), percentile(0.99));
    std::fflush(stdout);
  }

  const size_t bytes_;
  uv_loop_t loop_ = {};
  raft_uv_transport transport_ = {};
  raft_io io_ = {};
  raft_fsm fsm_ = {};
  struct raft raft_ = {};
  uv_pipe_t input_ = {};
  std::string line_;

  SteadyClock::time_point start_;
  SteadyClock::time_point end_;
  std::vector<Slot> slots_;  // Stays where it is while requests run.
  std::vector<uint32_t> latencies_us_;
  int running_ = 0;
  int errors_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: libraft_member_bench ID FOLDER HOST:PORT,... BYTES\n");
    return 2;
  }
  std::vector<std::string> peers;
  std::istringstream list(argv[3]);
  for (std::string peer; std::getline(list, peer, ',');) peers.push_back(peer);
  Member(std::strtoull(argv[1], nullptr, 10), argv[2], peers, std::strtoull(argv[4], nullptr, 10))
      .Serve();
  return 0;
}
