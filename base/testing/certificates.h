// Certificates for tests, made at run time: an authority and what it signs. P-256, valid for
// an hour around now.
#ifndef KEELSON_BASE_TESTING_CERTIFICATES_H_
#define KEELSON_BASE_TESTING_CERTIFICATES_H_

#include <memory>
#include <string>

struct evp_pkey_st;
struct x509_st;

namespace keelson::testing {

// Both in PEM.
struct IssuedCertificate {
  std::string cert_pem;
  std::string key_pem;
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& common_name = "Keelson test authority");

  // `subject_alt_names` in OpenSSL's form, such as "DNS:localhost,IP:127.0.0.1"; may be empty.
  // Usable by a server and by a client.
  [[nodiscard]] IssuedCertificate Issue(const std::string& common_name,
                                        const std::string& subject_alt_names) const;
  [[nodiscard]] const std::string& ca_pem() const { return ca_pem_; }

 private:
  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<x509_st> certificate_;
  std::string ca_pem_;
};

// Writes `text` to a new file of `name` under $TEST_TMPDIR and returns its path.
std::string WriteTestFile(const std::string& name, const std::string& text);

}  // namespace keelson::testing

#endif  // KEELSON_BASE_TESTING_CERTIFICATES_H_
