#include "base/rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <catch2/catch.hpp>

#include <map>
#include <memory>
#include <utility>

#include "base/net/echo_for_test.pb.h"
#include "base/rpc/reflection.pb.h"

namespace keelson::rpc {
namespace {

using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

class CollectingServer final : public Server {
 public:
  void Register(Method method) override {
    const std::string path = method.path;
    methods[path] = std::move(method);
  }
  void Start() override {}
  void Adopt(UniqueFd, bool) override {}
  void Stop(absl::Duration) override {}
  [[nodiscard]] ServerStats Stats() const override { return {}; }

  std::map<std::string, Method> methods;
};

class CollectingCall final : public Call {
 public:
  [[nodiscard]] std::string_view Metadata(std::string_view) const override { return ""; }
  [[nodiscard]] const rpc::Metadata& AllMetadata() const override { return metadata_; }
  [[nodiscard]] const Peer& peer() const override { return peer_; }
  void Accept(rpc::Metadata) override {}
  bool Send(std::string message) override {
    CHECK(sent.ParseFromString(message));
    return room;
  }
  void Finish(const absl::Status& status) override { ended = status; }
  void Answer(std::string) override {}
  void Pause() override { paused = true; }
  void Resume() override { paused = false; }

  ServerReflectionResponse sent;
  absl::Status ended = absl::UnknownError("not ended");
  bool room = true;
  bool paused = false;

 private:
  const rpc::Metadata metadata_;
  const Peer peer_;
};

struct Fixture {
  explicit Fixture(const std::string& version = "v1") {
    RegisterReflectionService(&server, {"keelson.net.testing.Echo"});
    handler =
        server.methods.at("/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo")
            .start(call);
    (void)net::testing::EchoMessage::descriptor();  // so that its file is linked in
  }
  const ServerReflectionResponse& Ask(const ServerReflectionRequest& request) {
    handler->OnMessage(request.SerializeAsString());
    return call->sent;
  }

  CollectingServer server;
  std::shared_ptr<CollectingCall> call = std::make_shared<CollectingCall>();
  std::shared_ptr<CallHandler> handler;
};

TEST_CASE("A client learns a method from the server alone", "[rpc][reflection]") {
  Fixture fixture(GENERATE(as<std::string>(), "v1", "v1alpha"));
  ServerReflectionRequest request;
  request.set_list_services("*");
  REQUIRE(fixture.Ask(request).list_services_response().service_size() == 1);
  const std::string service = fixture.call->sent.list_services_response().service(0).name();

  request.set_file_containing_symbol(service);
  google::protobuf::DescriptorPool pool;
  for (const auto& bytes :
       fixture.Ask(request).file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    REQUIRE(file.ParseFromString(bytes));
    REQUIRE(pool.BuildFile(file) != nullptr);
  }
  const auto* const found = pool.FindServiceByName(service);
  REQUIRE(found != nullptr);
  CHECK(found->FindMethodByName("Say")->input_type()->FindFieldByName("text") != nullptr);
  fixture.handler->OnHalfClose();
  CHECK(fixture.call->ended.ok());
}

TEST_CASE("A file comes behind all that it imports", "[rpc][reflection]") {
  Fixture fixture;
  ServerReflectionRequest request;
  request.set_file_by_filename("google/protobuf/descriptor.proto");
  CHECK(fixture.Ask(request).file_descriptor_response().file_descriptor_proto_size() == 1);
  request.mutable_file_containing_extension()->set_containing_type("google.protobuf.FileOptions");
  request.mutable_file_containing_extension()->set_extension_number(1);
  CHECK(fixture.Ask(request).error_response().error_code() == 5);
  request.set_all_extension_numbers_of_type("google.protobuf.FileOptions");
  CHECK(fixture.Ask(request).all_extension_numbers_response().base_type_name() ==
        "google.protobuf.FileOptions");
}

TEST_CASE("What is not known is answered by an error and the stream goes on",
          "[rpc][reflection][badinput]") {
  Fixture fixture;
  ServerReflectionRequest request;
  CHECK(fixture.Ask(request).error_response().error_code() == 3);
  request.set_file_containing_symbol("no.such.Service");
  CHECK(fixture.Ask(request).error_response().error_code() == 5);
  CHECK(fixture.call->sent.error_response().error_message() == "not known here: no.such.Service");
  CHECK(fixture.call->sent.original_request().file_containing_symbol() == "no.such.Service");
  request.set_file_by_filename("../../etc/passwd");
  CHECK(fixture.Ask(request).error_response().error_code() == 5);
  CHECK(!fixture.call->ended.ok());  // not ended

  fixture.handler->OnMessage("\xff\xff");
  CHECK(fixture.call->ended == absl::InternalError("the request cannot be decoded"));
}

TEST_CASE("A client that does not read is not listened to", "[rpc][reflection]") {
  Fixture fixture;
  fixture.call->room = false;
  ServerReflectionRequest request;
  request.set_list_services("*");
  fixture.Ask(request);
  CHECK(fixture.call->paused);
  fixture.handler->OnRoom();
  CHECK(!fixture.call->paused);
}

}  // namespace
}  // namespace keelson::rpc
