// The hello world and the echo service on gRPC C++'s callback API. C-core sizes its pool of threads
// by itself: `--threads` is accepted and changes nothing.

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "common.h"
#include "echo.grpc.pb.h"
#include "grpctest.grpc.pb.h"

namespace {

using grpc::CallbackServerContext;
using grpc::Status;

class Hello final : public grpctest::Grpctest::CallbackService {
  grpc::ServerUnaryReactor* GetServerResponse(CallbackServerContext* context,
                                              const grpctest::Message* request,
                                              grpctest::MessageResponse* reply) override {
    reply->set_message(bench::Greeting(request->message()));
    reply->set_received(true);
    auto* reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }
};

// Writes what is wanted, one message after the other.
class Writer final : public grpc::ServerWriteReactor<bench::Payload> {
 public:
  explicit Writer(const bench::Want& want) : left_(want.messages()) {
    if (want.bytes() > bench::kMessageBytesMax - 16) {
      Finish(Status(grpc::StatusCode::INVALID_ARGUMENT, "messages would be too large"));
      return;
    }
    payload_.set_body(std::string(want.bytes(), bench::kFill));
    Next();
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Next();
    } else {
      Finish(Status(grpc::StatusCode::CANCELLED, "the stream ended under us"));
    }
  }

  void OnDone() override { delete this; }

 private:
  void Next() {
    if (left_ == 0) {
      Finish(Status::OK);
      return;
    }
    --left_;
    StartWrite(&payload_);
  }

  uint32_t left_;
  bench::Payload payload_;
};

// Counts what comes.
class Reader final : public grpc::ServerReadReactor<bench::Payload> {
 public:
  explicit Reader(bench::Count* count) : count_(count) { StartRead(&payload_); }

  void OnReadDone(bool ok) override {
    if (ok) {
      ++messages_;
      StartRead(&payload_);
    } else {
      count_->set_messages(messages_);
      Finish(Status::OK);
    }
  }

  void OnDone() override { delete this; }

 private:
  bench::Count* count_;
  uint64_t messages_ = 0;
  bench::Payload payload_;
};

// Sends back each message before it reads the next.
class Echoer final : public grpc::ServerBidiReactor<bench::Payload, bench::Payload> {
 public:
  Echoer() { StartRead(&payload_); }

  void OnReadDone(bool ok) override {
    if (ok) {
      StartWrite(&payload_);
    } else {
      Finish(Status::OK);
    }
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&payload_);
    } else {
      Finish(Status(grpc::StatusCode::CANCELLED, "the stream ended under us"));
    }
  }

  void OnDone() override { delete this; }

 private:
  bench::Payload payload_;
};

class Echo final : public bench::Echo::CallbackService {
  grpc::ServerUnaryReactor* Unary(CallbackServerContext* context, const bench::Payload* request,
                                  bench::Payload* reply) override {
    reply->set_body(request->body());
    auto* reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }

  grpc::ServerWriteReactor<bench::Payload>* ServerStream(CallbackServerContext*,
                                                         const bench::Want* want) override {
    return new Writer(*want);
  }

  grpc::ServerReadReactor<bench::Payload>* ClientStream(CallbackServerContext*,
                                                        bench::Count* count) override {
    return new Reader(count);
  }

  grpc::ServerBidiReactor<bench::Payload, bench::Payload>* BidiStream(
      CallbackServerContext*) override {
    return new Echoer();
  }
};

}  // namespace

int main(int argc, char** argv) {
  const bench::Flags flags(argc, argv, {{"addr", "127.0.0.1:0"}, {"threads", "1"}});
  const std::string& addr = flags.Text("addr");

  Hello hello;
  Echo echo;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(bench::kMessageBytesMax);
  builder.SetMaxSendMessageSize(bench::kMessageBytesMax);
  builder.AddListeningPort(addr, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&hello);
  builder.RegisterService(&echo);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) bench::Fail("cannot listen on " + addr);

  std::printf("listening on %s:%d\n", addr.substr(0, addr.rfind(':')).c_str(), port);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}
