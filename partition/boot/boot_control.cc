#include "partition/boot/boot_control.h"

namespace keelson::partition {

std::string_view BootStateName(BootState state) {
  switch (state) {
    case BootState::kTrial:
      return "trial";
    case BootState::kGood:
      return "good";
    case BootState::kBad:
      return "bad";
  }
  return "unknown";
}

}  // namespace keelson::partition
