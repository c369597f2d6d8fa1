// Boot control in memory, with a loader to play: candidates in the order in which they were
// committed, the newest first.
//
//   FakeBootControl control;
//   KEELSON_REQUIRE_OK(control.Commit({.id = "b", .contents = image}, 3));
//   CHECK(control.Boot() == "b");           // takes a try
//   control.FailNext(absl::UnavailableError("no"));
#ifndef KEELSON_PARTITION_BOOT_TESTING_FAKE_BOOT_CONTROL_H_
#define KEELSON_PARTITION_BOOT_TESTING_FAKE_BOOT_CONTROL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "partition/boot/boot_control.h"

namespace keelson::partition::testing {

class FakeBootControl final : public BootControl {
 public:
  // What a loader does: takes the first that is good or has tries, takes a try, and runs it. The
  // first of all if none is. Empty: there is no candidate.
  std::optional<std::string> Boot();

  // The next call that changes something fails with `error` and changes nothing.
  void FailNext(absl::Status error) { error_ = std::move(error); }
  void set_room_bytes(uint64_t bytes) { room_bytes_ = bytes; }

  absl::StatusOr<std::vector<BootCandidate>> Candidates() override;
  absl::StatusOr<std::string> Running() override;
  absl::Status CheckRoom(uint64_t bytes) override;
  absl::Status Commit(const BootImage& image, std::optional<int> tries) override;
  absl::Status Mark(const std::string& id, BootVerdict verdict, const std::string& reason) override;
  absl::Status CountTry(const std::string& id) override;
  absl::Status Remove(const std::string& id) override;

 private:
  struct Stored {
    BootCandidate candidate;
    std::string contents;
    BootCandidate as_started;
  };

  absl::Status TakeError();
  Stored* Find(const std::string& id);
  bool AnotherGood(const std::string& id);
  Stored* Next();

  std::vector<Stored> stored_;  // the newest first
  std::optional<std::string> running_;
  std::optional<absl::Status> error_;
  uint64_t room_bytes_ = uint64_t{1} << 40;
};

}  // namespace keelson::partition::testing

#endif  // KEELSON_PARTITION_BOOT_TESTING_FAKE_BOOT_CONTROL_H_
