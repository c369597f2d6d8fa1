// KEELSON_CHECK: what must hold or our own code is wrong. A failure prints the
// place, the condition and the values, then aborts; it is always compiled in.
//
//   KEELSON_CHECK(applied <= commit) << "applied=" << applied << " commit=" << commit;
#ifndef KEELSON_BASE_CHECK_H_
#define KEELSON_BASE_CHECK_H_

#include <sstream>

namespace keelson::check_internal {

// Collects the message of a failed check; its destructor prints and aborts.
class Failure {
 public:
  Failure(const char* file, int line, const char* condition);
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
  [[noreturn]] ~Failure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

// Makes `Failure << ...` an expression of type void with the lowest precedence.
struct Voidify {
  void operator&(std::ostream&) const {}
};

}  // namespace keelson::check_internal

#define KEELSON_CHECK(condition)                       \
  (condition) ? (void)0                                \
              : ::keelson::check_internal::Voidify() & \
                    ::keelson::check_internal::Failure(__FILE__, __LINE__, #condition).stream()

#define KEELSON_CHECK_OK(status_expression)                                      \
  do {                                                                           \
    const auto& keelson_check_status = (status_expression);                      \
    KEELSON_CHECK(keelson_check_status.ok()) << keelson_check_status.ToString(); \
  } while (false)

#endif  // KEELSON_BASE_CHECK_H_
