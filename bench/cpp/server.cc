// The hello world and the echo service on gRPC C++'s asynchronous API: each thread has a completion
// queue of its own, and runs what comes out of it.

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common.h"
#include "echo.grpc.pb.h"
#include "grpctest.grpc.pb.h"

namespace {

using grpc::ServerCompletionQueue;
using grpc::ServerContext;
using grpc::Status;
using HelloService = grpctest::Grpctest::AsyncService;
using EchoService = bench::Echo::AsyncService;

// Calls of each method that a queue is ready to take before it asks for more.
constexpr int kReady = 64;

// What waits in a queue for one thing at a time; deletes itself after the last.
class Call {
 public:
  virtual ~Call() = default;
  virtual void Proceed(bool ok) = 0;
};

template <class Request, class Reply>
class UnaryCall final : public Call {
 public:
  using Writer = grpc::ServerAsyncResponseWriter<Reply>;
  // Asks for the next call of a method.
  using Ask = std::function<void(ServerContext*, Request*, Writer*, void* tag)>;
  using Answer = void (*)(const Request&, Reply*);

  UnaryCall(const Ask& ask, Answer answer) : ask_(ask), answer_(answer), writer_(&context_) {
    ask_(&context_, &request_, &writer_, this);
  }

  void Proceed(bool ok) override {
    if (!ok || answered_) {
      delete this;
      return;
    }
    new UnaryCall(ask_, answer_);
    answered_ = true;
    Reply reply;
    answer_(request_, &reply);
    writer_.Finish(reply, Status::OK, this);
  }

 private:
  const Ask& ask_;
  const Answer answer_;
  bool answered_ = false;
  ServerContext context_;
  Request request_;
  Writer writer_;
};

using HelloCall = UnaryCall<grpctest::Message, grpctest::MessageResponse>;
using EchoCall = UnaryCall<bench::Payload, bench::Payload>;

void Greet(const grpctest::Message& request, grpctest::MessageResponse* reply) {
  reply->set_message(bench::Greeting(request.message()));
  reply->set_received(true);
}

void Return(const bench::Payload& request, bench::Payload* reply) {
  reply->set_body(request.body());
}

Status Broken() { return Status(grpc::StatusCode::CANCELLED, "the stream ended under us"); }

// Writes what is wanted, one message after the other.
class ServerStreamCall final : public Call {
 public:
  ServerStreamCall(EchoService* service, ServerCompletionQueue* queue)
      : service_(service), queue_(queue), writer_(&context_) {
    service_->RequestServerStream(&context_, &want_, &writer_, queue_, queue_, this);
  }

  void Proceed(bool ok) override {
    if (state_ == State::kFinishing || (state_ == State::kAsking && !ok)) {
      delete this;
      return;
    }
    if (state_ == State::kAsking) {
      new ServerStreamCall(service_, queue_);
      if (want_.bytes() > bench::kMessageBytesMax - 16) {
        Finish(Status(grpc::StatusCode::INVALID_ARGUMENT, "messages would be too large"));
        return;
      }
      state_ = State::kWriting;
      left_ = want_.messages();
      payload_.set_body(std::string(want_.bytes(), bench::kFill));
    }
    if (!ok) {
      Finish(Broken());
    } else if (left_ == 0) {
      Finish(Status::OK);
    } else {
      --left_;
      writer_.Write(payload_, this);
    }
  }

 private:
  enum class State { kAsking, kWriting, kFinishing };

  void Finish(const Status& status) {
    state_ = State::kFinishing;
    writer_.Finish(status, this);
  }

  EchoService* const service_;
  ServerCompletionQueue* const queue_;
  State state_ = State::kAsking;
  ServerContext context_;
  bench::Want want_;
  uint32_t left_ = 0;
  bench::Payload payload_;
  grpc::ServerAsyncWriter<bench::Payload> writer_;
};

// Counts what comes.
class ClientStreamCall final : public Call {
 public:
  ClientStreamCall(EchoService* service, ServerCompletionQueue* queue)
      : service_(service), queue_(queue), reader_(&context_) {
    service_->RequestClientStream(&context_, &reader_, queue_, queue_, this);
  }

  void Proceed(bool ok) override {
    if (state_ == State::kFinishing || (state_ == State::kAsking && !ok)) {
      delete this;
      return;
    }
    if (state_ == State::kAsking) {
      new ClientStreamCall(service_, queue_);
      state_ = State::kReading;
    } else if (ok) {
      ++messages_;
    }
    if (ok) {
      reader_.Read(&payload_, this);
    } else {
      bench::Count count;
      count.set_messages(messages_);
      state_ = State::kFinishing;
      reader_.Finish(count, Status::OK, this);
    }
  }

 private:
  enum class State { kAsking, kReading, kFinishing };

  EchoService* const service_;
  ServerCompletionQueue* const queue_;
  State state_ = State::kAsking;
  ServerContext context_;
  uint64_t messages_ = 0;
  bench::Payload payload_;
  grpc::ServerAsyncReader<bench::Count, bench::Payload> reader_;
};

// Sends back each message before it reads the next.
class BidiCall final : public Call {
 public:
  BidiCall(EchoService* service, ServerCompletionQueue* queue)
      : service_(service), queue_(queue), stream_(&context_) {
    service_->RequestBidiStream(&context_, &stream_, queue_, queue_, this);
  }

  void Proceed(bool ok) override {
    if (state_ == State::kFinishing || (state_ == State::kAsking && !ok)) {
      delete this;
      return;
    }
    if (!ok) {
      // A read that brings nothing is the end of what the client has to say.
      const Status status = state_ == State::kReading ? Status::OK : Broken();
      state_ = State::kFinishing;
      stream_.Finish(status, this);
      return;
    }
    if (state_ == State::kReading) {
      state_ = State::kWriting;
      stream_.Write(payload_, this);
      return;
    }
    if (state_ == State::kAsking) new BidiCall(service_, queue_);
    state_ = State::kReading;
    stream_.Read(&payload_, this);
  }

 private:
  enum class State { kAsking, kReading, kWriting, kFinishing };

  EchoService* const service_;
  ServerCompletionQueue* const queue_;
  State state_ = State::kAsking;
  ServerContext context_;
  bench::Payload payload_;
  grpc::ServerAsyncReaderWriter<bench::Payload, bench::Payload> stream_;
};

// Takes the calls of one queue, as long as the process lives.
void Work(HelloService* hello, EchoService* echo, ServerCompletionQueue* queue) {
  const HelloCall::Ask ask_hello = [=](auto* context, auto* request, auto* writer, void* tag) {
    hello->RequestGetServerResponse(context, request, writer, queue, queue, tag);
  };
  const EchoCall::Ask ask_unary = [=](auto* context, auto* request, auto* writer, void* tag) {
    echo->RequestUnary(context, request, writer, queue, queue, tag);
  };
  for (int i = 0; i < kReady; ++i) {
    new HelloCall(ask_hello, Greet);
    new EchoCall(ask_unary, Return);
    new ServerStreamCall(echo, queue);
    new ClientStreamCall(echo, queue);
    new BidiCall(echo, queue);
  }
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<Call*>(tag)->Proceed(ok);
}

std::shared_ptr<grpc::ServerCredentials> Credentials(const std::string& cert,
                                                     const std::string& key) {
  if (cert.empty() != key.empty()) bench::Fail("--tls-cert and --tls-key go together");
  if (cert.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({bench::Read(key), bench::Read(cert)});
  return grpc::SslServerCredentials(options);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Flags flags(
      argc, argv,
      {{"addr", "127.0.0.1:0"}, {"threads", "1"}, {"tls-cert", ""}, {"tls-key", ""}});
  const auto threads = std::max(1, static_cast<int>(flags.Number("threads")));
  const std::string& addr = flags.Text("addr");

  HelloService hello;
  EchoService echo;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(bench::kMessageBytesMax);
  builder.SetMaxSendMessageSize(bench::kMessageBytesMax);
  builder.AddListeningPort(addr, Credentials(flags.Text("tls-cert"), flags.Text("tls-key")), &port);
  builder.RegisterService(&hello);
  builder.RegisterService(&echo);
  std::vector<std::unique_ptr<ServerCompletionQueue>> queues;
  for (int i = 0; i < threads; ++i) queues.push_back(builder.AddCompletionQueue());
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) bench::Fail("cannot listen on " + addr);
  for (auto& queue : queues) std::thread(Work, &hello, &echo, queue.get()).detach();

  std::printf("listening on %s:%d\n", addr.substr(0, addr.rfind(':')).c_str(), port);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  // The threads still work on their queues: there is nothing to take down in order.
  std::_Exit(0);
}
