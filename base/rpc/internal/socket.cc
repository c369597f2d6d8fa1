#include "base/rpc/internal/socket.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

#include "base/net/address.h"

namespace keelson::rpc::internal {
namespace {

std::string ErrnoText(int error) { return std::generic_category().message(error); }

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
  std::string Why() const override {
    if (!closed_) return "";
    return error_ == 0 ? "closed by the other side" : ErrnoText(error_);
  }

 private:
  Result ResultOf(ssize_t count) {
    if (count > 0) return {State::kDone, static_cast<size_t>(count)};
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return {State::kWait};
    if (!std::exchange(closed_, true)) error_ = count == 0 ? 0 : errno;
    return {State::kClosed};
  }

  const UniqueFd fd_;
  bool closed_ = false;
  int error_ = 0;
};

// Its thread blocks SIGPIPE, which OpenSSL's write may raise.
class TlsSocket final : public Socket {
 public:
  TlsSocket(UniqueFd fd, SSL* ssl) : fd_(std::move(fd)), ssl_(ssl, SSL_free) {}

  Result Read(char* buffer, size_t size) override {
    if (!why_.empty()) return {State::kClosed};
    ERR_clear_error();
    const int count = SSL_read(ssl_.get(), buffer, Clamp(size));
    Result result = ResultOf(count);
    read_wants_write_ = result.state == State::kWait && SSL_want_write(ssl_.get()) != 0;
    result.more = SSL_pending(ssl_.get()) > 0;
    return result;
  }
  Result Write(std::string_view bytes) override {
    if (!why_.empty()) return {State::kClosed};
    ERR_clear_error();
    const Result result = ResultOf(SSL_write(ssl_.get(), bytes.data(), Clamp(bytes.size())));
    write_wants_read_ = result.state == State::kWait && SSL_want_read(ssl_.get()) != 0;
    return result;
  }
  bool read_wants_write() const override { return read_wants_write_; }
  bool write_wants_read() const override { return write_wants_read_; }
  bool takes_bytes() const override { return greeted_; }
  int fd() const override { return fd_.get(); }
  std::string Why() const override { return why_; }
  std::shared_ptr<const PeerCertificate> Certificate() const override {
    return ReadPeerCertificate(ssl_.get());
  }

 private:
  static int Clamp(size_t size) {
    return static_cast<int>(std::min<size_t>(size, std::numeric_limits<int>::max()));
  }

  Result ResultOf(int count) {
    const int error = SSL_get_error(ssl_.get(), count);
    if (!greeted_ && SSL_is_init_finished(ssl_.get()) != 0) {
      greeted_ = true;
      const unsigned char* protocol = nullptr;
      unsigned size = 0;
      SSL_get0_alpn_selected(ssl_.get(), &protocol, &size);
      // A server of ours has chosen it itself, or refused.
      if (SSL_is_server(ssl_.get()) == 0 && size == 0) {
        why_ = "it does not speak HTTP/2 inside of TLS (ALPN)";
        return {State::kClosed};
      }
    }
    if (count > 0) return {State::kDone, static_cast<size_t>(count)};
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {State::kWait};
    const int system_error = errno;
    // Empties the queue, which is of the thread.
    const std::string tls_errors = TakeTlsErrors();
    const long verified = SSL_get_verify_result(ssl_.get());
    if (error == SSL_ERROR_ZERO_RETURN) {
      why_ = "closed by the other side";
    } else if (!greeted_ && verified != X509_V_OK) {
      why_ = std::string("its certificate: ") + X509_verify_cert_error_string(verified);
    } else if (!tls_errors.empty()) {
      why_ = "TLS: " + tls_errors;
    } else if (error == SSL_ERROR_SYSCALL && system_error != 0) {
      why_ = ErrnoText(system_error);
    } else {
      why_ = greeted_ ? "closed by the other side" : "closed during the TLS handshake";
    }
    return {State::kClosed};
  }

  const UniqueFd fd_;  // Closed after ssl_ is freed.
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  bool read_wants_write_ = false;
  bool write_wants_read_ = false;
  bool greeted_ = false;  // The handshake is done.
  std::string why_;       // Not empty: closed.
};

std::unique_ptr<SSL, void (*)(SSL*)> NewSsl(ssl_ctx_st* context, int fd) {
  std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context), SSL_free);
  if (ssl != nullptr && SSL_set_fd(ssl.get(), fd) != 1) ssl.reset();
  return ssl;
}

}  // namespace

std::unique_ptr<Socket> MakePlainSocket(UniqueFd fd) {
  return std::make_unique<PlainSocket>(std::move(fd));
}

std::unique_ptr<Socket> MakeTlsSocket(UniqueFd fd, const TlsServerContext& context) {
  auto ssl = NewSsl(context.ssl_ctx(), fd.get());
  if (ssl == nullptr) return nullptr;
  SSL_set_accept_state(ssl.get());
  return std::make_unique<TlsSocket>(std::move(fd), ssl.release());
}

std::unique_ptr<Socket> MakeTlsClientSocket(UniqueFd fd, const TlsClientContext& context,
                                            const std::string& server_name) {
  auto ssl = NewSsl(context.ssl_ctx(), fd.get());
  if (ssl == nullptr || !ExpectServerName(ssl.get(), server_name)) return nullptr;
  SSL_set_connect_state(ssl.get());
  return std::make_unique<TlsSocket>(std::move(fd), ssl.release());
}

std::string PeerAddress(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "unknown";
  return net::AddressText(reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace keelson::rpc::internal
