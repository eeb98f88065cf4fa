// Calls one server over one channel from many tasks, by gRPC C++'s callback API, and prints a
// report in JSON. A task has one call at a time; callbacks drive it, on threads of C-core's own:
// `--threads` is accepted and changes nothing.

#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common.h"
#include "echo.grpc.pb.h"
#include "grpctest.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;
using grpc::ClientContext;
using grpc::Status;

constexpr std::chrono::seconds kConnectTimeout{20};

enum class Phase { kWarmingUp, kMeasured, kOver };

// What all tasks look at to know whether their calls count and when to end.
class Run {
 public:
  Run(size_t tasks, std::optional<uint64_t> calls)
      : phase_(calls ? Phase::kMeasured : Phase::kWarmingUp),
        limited_(calls.has_value()),
        calls_left_(static_cast<int64_t>(calls.value_or(0))),
        tasks_left_(tasks) {}

  bool IsMeasured() const { return phase_.load(std::memory_order_relaxed) == Phase::kMeasured; }
  void Enter(Phase phase) { phase_.store(phase, std::memory_order_relaxed); }

  // Whether there is another call to make.
  bool Another() {
    if (limited_) return calls_left_.fetch_sub(1, std::memory_order_relaxed) > 0;
    return phase_.load(std::memory_order_relaxed) != Phase::kOver;
  }

  void TaskDone(const std::string& error) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (error_.empty()) error_ = error;
    --tasks_left_;
    done_.notify_one();
  }

  // Lets the tasks work so long; ends the program as soon as one fails.
  void Wait(double seconds) {
    std::unique_lock<std::mutex> lock(mutex_);
    const std::chrono::duration<double> time(seconds);
    done_.wait_for(lock, time, [this] { return !error_.empty(); });
    FailOnError();
  }

  // Waits for the end of all tasks.
  void Join() {
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return tasks_left_ == 0; });
    FailOnError();
  }

 private:
  void FailOnError() const {
    if (error_.empty()) return;
    std::fprintf(stderr, "%s\n", error_.c_str());
    // Others still have calls of this channel: nothing is taken down in order.
    std::_Exit(1);
  }

  std::atomic<Phase> phase_;
  const bool limited_;
  std::atomic<int64_t> calls_left_;
  std::mutex mutex_;
  std::condition_variable done_;
  size_t tasks_left_;
  std::string error_;
};

// One of the tasks, and what it counted: a call at a time, again and again.
class Task {
 public:
  explicit Task(Run* run) : run_(run) {}
  virtual ~Task() = default;

  // Makes a call, or says that this was all. Nothing may follow it.
  void Next() {
    if (run_->Another()) {
      began_ = Clock::now();
      Start();
    } else {
      run_->TaskDone("");
    }
  }

  uint64_t messages = 0;
  std::vector<uint32_t> nanoseconds;

 protected:
  virtual void Start() = 0;

  // After a call. What ends in the time that is measured counts, wherever it began. Nothing may
  // follow it.
  void Done(const Status& status, bool right, uint64_t received) {
    if (!status.ok()) {
      run_->TaskDone(std::to_string(status.error_code()) + ": " + status.error_message());
      return;
    }
    if (!right) {
      run_->TaskDone("a wrong reply");
      return;
    }
    if (run_->IsMeasured()) {
      const auto took = std::chrono::nanoseconds(Clock::now() - began_).count();
      nanoseconds.push_back(static_cast<uint32_t>(std::min<int64_t>(took, UINT32_MAX)));
      messages += received;
    }
    Next();
  }

 private:
  Run* run_;
  Clock::time_point began_;
};

bool IsBody(const std::string& body, size_t bytes) {
  return body.size() == bytes &&
         (bytes == 0 || (body.front() == bench::kFill && body.back() == bench::kFill));
}

// The hello world.
class HelloTask final : public Task {
 public:
  HelloTask(Run* run, grpctest::Grpctest::Stub* stub)
      : Task(run), stub_(stub), expected_(bench::Greeting("hello")) {
    request_.set_message("hello");
  }

 private:
  void Start() override {
    context_.emplace();
    stub_->async()->GetServerResponse(
        &*context_, &request_, &reply_, [this](const Status& status) {
          Done(status, reply_.received() && reply_.message() == expected_, 1);
        });
  }

  grpctest::Grpctest::Stub* stub_;
  const std::string expected_;
  std::optional<ClientContext> context_;
  grpctest::Message request_;
  grpctest::MessageResponse reply_;
};

// Large payloads, there and back.
class LargeTask final : public Task {
 public:
  LargeTask(Run* run, bench::Echo::Stub* stub, size_t bytes) : Task(run), stub_(stub) {
    request_.set_body(std::string(bytes, bench::kFill));
  }

 private:
  void Start() override {
    context_.emplace();
    stub_->async()->Unary(&*context_, &request_, &reply_, [this](const Status& status) {
      Done(status, IsBody(reply_.body(), request_.body().size()), 1);
    });
  }

  bench::Echo::Stub* stub_;
  std::optional<ClientContext> context_;
  bench::Payload request_;
  bench::Payload reply_;
};

// Messages from the server.
class ServerStreamTask final : public Task {
 public:
  ServerStreamTask(Run* run, bench::Echo::Stub* stub, uint32_t count, size_t bytes)
      : Task(run), stub_(stub) {
    want_.set_messages(count);
    want_.set_bytes(static_cast<uint32_t>(bytes));
  }

 private:
  struct Stream final : grpc::ClientReadReactor<bench::Payload> {
    explicit Stream(ServerStreamTask* task) : task(task) {}

    void OnReadDone(bool ok) override {
      if (!ok) return;
      ++received;
      right = right && IsBody(payload.body(), task->want_.bytes());
      StartRead(&payload);
    }

    void OnDone(const Status& status) override { task->StreamDone(status); }

    ServerStreamTask* const task;
    ClientContext context;
    bench::Payload payload;
    uint64_t received = 0;
    bool right = true;
  };

  void Start() override {
    stream_ = std::make_unique<Stream>(this);
    stub_->async()->ServerStream(&stream_->context, &want_, stream_.get());
    stream_->StartRead(&stream_->payload);
    stream_->StartCall();
  }

  void StreamDone(const Status& status) {
    const uint64_t received = stream_->received;
    const bool right = stream_->right && received == want_.messages();
    Done(status, right, received);
  }

  bench::Echo::Stub* stub_;
  bench::Want want_;
  std::unique_ptr<Stream> stream_;
};

// Messages there, without waiting for any, and back.
class BidiTask final : public Task {
 public:
  BidiTask(Run* run, bench::Echo::Stub* stub, uint32_t count, size_t bytes)
      : Task(run), stub_(stub), count_(count) {
    request_.set_body(std::string(bytes, bench::kFill));
  }

 private:
  struct Stream final : grpc::ClientBidiReactor<bench::Payload, bench::Payload> {
    explicit Stream(BidiTask* task) : task(task), to_send(task->count_) {}

    void Send() {
      if (to_send == 0) {
        StartWritesDone();
        return;
      }
      --to_send;
      StartWrite(&task->request_);
    }

    void OnWriteDone(bool ok) override {
      if (ok) Send();
    }

    void OnReadDone(bool ok) override {
      if (!ok) return;
      ++received;
      right = right && IsBody(payload.body(), task->request_.body().size());
      StartRead(&payload);
    }

    void OnDone(const Status& status) override { task->StreamDone(status); }

    BidiTask* const task;
    ClientContext context;
    bench::Payload payload;
    uint64_t to_send;
    uint64_t received = 0;
    bool right = true;
  };

  void Start() override {
    stream_ = std::make_unique<Stream>(this);
    stub_->async()->BidiStream(&stream_->context, stream_.get());
    stream_->StartRead(&stream_->payload);
    stream_->Send();
    stream_->StartCall();
  }

  void StreamDone(const Status& status) {
    const uint64_t received = stream_->received;
    const bool right = stream_->right && received == count_;
    Done(status, right, received);
  }

  bench::Echo::Stub* stub_;
  const uint32_t count_;
  bench::Payload request_;
  std::unique_ptr<Stream> stream_;
};

double CpuSeconds() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) bench::Fail("no rusage");
  const auto seconds = [](const timeval& time) { return time.tv_sec + time.tv_usec / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void Report(const std::vector<std::unique_ptr<Task>>& tasks, double elapsed, double cpu) {
  uint64_t messages = 0;
  std::vector<uint32_t> all;
  for (const auto& task : tasks) {
    messages += task->messages;
    all.insert(all.end(), task->nanoseconds.begin(), task->nanoseconds.end());
  }
  std::sort(all.begin(), all.end());
  const auto quantile = [&all](double part) {
    const auto at = static_cast<size_t>(part * static_cast<double>(all.size()));
    return all.empty() ? 0.0 : all[std::min(at, all.size() - 1)] / 1e3;
  };
  std::printf(
      "{\"calls\":%zu,\"messages\":%llu,\"elapsed_s\":%.6f,\"cpu_s\":%.6f,"
      "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n",
      all.size(), static_cast<unsigned long long>(messages), elapsed, cpu, quantile(0.5),
      quantile(0.99), quantile(0.999));
}

std::shared_ptr<grpc::Channel> Connect(const std::string& addr) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(bench::kMessageBytesMax);
  arguments.SetMaxSendMessageSize(bench::kMessageBytesMax);
  auto channel =
      grpc::CreateCustomChannel(addr, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectTimeout)) {
    bench::Fail("cannot connect to " + addr);
  }
  return channel;
}

struct Moment {
  Clock::time_point time = Clock::now();
  double cpu = CpuSeconds();
};

}  // namespace

int main(int argc, char** argv) {
  const bench::Flags flags(argc, argv,
                           {{"addr", ""},
                            {"in-flight", "1"},
                            {"seconds", "5"},
                            {"calls", ""},
                            {"threads", "1"},
                            {"mode", "unary"},
                            {"messages", "1000"},
                            {"bytes", ""},
                            {"warm-up-seconds", "0.5"}});
  const std::string& mode = flags.Text("mode");
  const auto in_flight = std::max<size_t>(1, static_cast<size_t>(flags.Number("in-flight")));
  const auto count = static_cast<uint32_t>(flags.Number("messages"));
  const auto given = [&flags](const char* name) { return !flags.Text(name).empty(); };
  size_t bytes = mode == "large" ? 1024 * 1024 : 16;
  if (given("bytes")) bytes = static_cast<size_t>(flags.Number("bytes"));
  std::optional<uint64_t> calls;
  if (given("calls")) calls = static_cast<uint64_t>(flags.Number("calls"));

  auto channel = Connect(flags.Text("addr"));
  auto hello = grpctest::Grpctest::NewStub(channel);
  auto echo = bench::Echo::NewStub(channel);
  Run run(in_flight, calls);
  std::vector<std::unique_ptr<Task>> tasks;
  for (size_t i = 0; i < in_flight; ++i) {
    if (mode == "unary") {
      tasks.push_back(std::make_unique<HelloTask>(&run, hello.get()));
    } else if (mode == "large") {
      tasks.push_back(std::make_unique<LargeTask>(&run, echo.get(), bytes));
    } else if (mode == "server-stream") {
      tasks.push_back(std::make_unique<ServerStreamTask>(&run, echo.get(), count, bytes));
    } else if (mode == "bidi") {
      tasks.push_back(std::make_unique<BidiTask>(&run, echo.get(), count, bytes));
    } else {
      bench::Fail("unknown mode " + mode);
    }
  }

  Moment began;
  for (const auto& task : tasks) task->Next();
  std::optional<Moment> ended;
  if (!calls) {
    run.Wait(flags.Number("warm-up-seconds"));
    began = Moment();
    run.Enter(Phase::kMeasured);
    run.Wait(flags.Number("seconds"));
    run.Enter(Phase::kOver);
    ended.emplace();
  }
  run.Join();
  if (!ended) ended.emplace();
  Report(tasks, std::chrono::duration<double>(ended->time - began.time).count(),
         ended->cpu - began.cpu);
  return 0;
}
