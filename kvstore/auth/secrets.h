// Password hashes and tokens: bcrypt as etcd uses it, and letters nobody can guess.
#ifndef KEELSON_KVSTORE_AUTH_SECRETS_H_
#define KEELSON_KVSTORE_AUTH_SECRETS_H_

#include <string>

namespace keelson::kvstore::auth {

// Go's bcrypt, which etcd calls, knows costs from 4 to 31; the time doubles with each.
inline constexpr int kMinCost = 4;
inline constexpr int kMaxCost = 31;

// bcrypt's text ("$2a$10$...") of `password` with a new salt. Takes some 50 ms of CPU time at
// cost 10: not for a thread that others wait for. A zero byte ends the password.
std::string HashPassword(const std::string& password, int cost);

// Takes as long as HashPassword did. False also for a hash that makes no sense.
bool PasswordMatches(const std::string& password, const std::string& hash);

// 16 letters from the system's source of secrets, the first part of a token of etcd's.
std::string NewToken();

}  // namespace keelson::kvstore::auth

#endif  // KEELSON_KVSTORE_AUTH_SECRETS_H_
