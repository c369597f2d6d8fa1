#include "base/rpc/internal/socket.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

namespace keelson::rpc::internal {
namespace {

class PlainSocket final : public Socket {
 public:
  explicit PlainSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  Result Read(char* buffer, size_t size) override {
    return ResultOf(::recv(fd_.get(), buffer, size, 0));
  }
  Result Write(std::string_view bytes) override {
    return ResultOf(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }
  int fd() const override { return fd_.get(); }

 private:
  static Result ResultOf(ssize_t count) {
    if (count > 0) return {State::kDone, static_cast<size_t>(count)};
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return {State::kWait};
    return {State::kClosed};
  }

  const UniqueFd fd_;
};

// The server's side. Its thread blocks SIGPIPE, which OpenSSL's write may raise.
class TlsSocket final : public Socket {
 public:
  TlsSocket(UniqueFd fd, SSL* ssl) : fd_(std::move(fd)), ssl_(ssl, SSL_free) {}

  Result Read(char* buffer, size_t size) override {
    ERR_clear_error();
    const int count = SSL_read(ssl_.get(), buffer, Clamp(size));
    read_wants_write_ = count <= 0 && SSL_get_error(ssl_.get(), count) == SSL_ERROR_WANT_WRITE;
    Result result = ResultOf(count);
    result.more = SSL_pending(ssl_.get()) > 0;
    return result;
  }
  Result Write(std::string_view bytes) override {
    ERR_clear_error();
    return ResultOf(SSL_write(ssl_.get(), bytes.data(), Clamp(bytes.size())));
  }
  bool read_wants_write() const override { return read_wants_write_; }
  int fd() const override { return fd_.get(); }
  std::string ClientCommonName() const override {
    const X509* const certificate = SSL_get0_peer_certificate(ssl_.get());
    // A server that verifies nobody asks for no certificate; this is the second lock.
    if (certificate == nullptr || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return "";
    const X509_NAME* const subject = X509_get_subject_name(certificate);
    const int position = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (position < 0) return "";
    unsigned char* text = nullptr;
    const int size = ASN1_STRING_to_UTF8(
        &text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, position)));
    if (size < 0) {
      ERR_clear_error();
      return "";
    }
    std::string name(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
    return name;
  }

 private:
  static int Clamp(size_t size) {
    return static_cast<int>(std::min<size_t>(size, std::numeric_limits<int>::max()));
  }

  Result ResultOf(int count) const {
    if (count > 0) return {State::kDone, static_cast<size_t>(count)};
    const int error = SSL_get_error(ssl_.get(), count);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {State::kWait};
    ERR_clear_error();  // Not for the next user of this thread's queue.
    return {State::kClosed};
  }

  const UniqueFd fd_;  // Closed after ssl_ is freed.
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  bool read_wants_write_ = false;
};

}  // namespace

std::unique_ptr<Socket> MakePlainSocket(UniqueFd fd) {
  return std::make_unique<PlainSocket>(std::move(fd));
}

std::unique_ptr<Socket> MakeTlsSocket(UniqueFd fd, const TlsServerContext& context) {
  SSL* const ssl = SSL_new(context.ssl_ctx());
  if (ssl == nullptr || SSL_set_fd(ssl, fd.get()) != 1) {
    SSL_free(ssl);
    return nullptr;
  }
  SSL_set_accept_state(ssl);
  return std::make_unique<TlsSocket>(std::move(fd), ssl);
}

}  // namespace keelson::rpc::internal
