// Passwords from a terminal, without echo.
#ifndef KEELSON_KVSTORE_CMD_PASSWORD_H_
#define KEELSON_KVSTORE_CMD_PASSWORD_H_

#include <istream>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"

namespace keelson::kvctl {

// Writes `prompt`, reads a line with the terminal's echo off, if standard input is one, and ends
// the
// line. Space around the password does not count. Empty at the end of the input.
std::string AskPassword(const std::string& prompt, std::istream& in, std::ostream& out);

// Asks for a new password of `name` twice. INVALID_ARGUMENT when it is empty or the two differ.
absl::StatusOr<std::string> AskNewPassword(const std::string& name, std::istream& in,
                                           std::ostream& out);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_PASSWORD_H_
