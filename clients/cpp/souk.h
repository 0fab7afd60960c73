// A client of a Souk market.
//
// The certificate is the account: the connection presents it, x-party-id repeats its UUID, and the access token is
// bound to it. README.md describes how to build it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "details.pb.h"
#include "shopping/v1/account_service.grpc.pb.h"
#include "shopping/v1/notification_service.grpc.pb.h"

namespace souk {

namespace v1 = ::shopping::v1;
using Clock = std::chrono::system_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kMarket[] = "market.souk.internal";
constexpr seconds kTimeout{10};  // of a call with its retries
constexpr int kMaxAttempts = 5;
constexpr milliseconds kFirstDelay{100}, kMaxDelay{2000};
constexpr size_t kRemembered = 1024;  // ids of events

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("can't read " + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A certificate from gen-certs.sh, with its key and ca.pem in the same folder.
struct Credentials {
  explicit Credentials(const std::string& cert)
      : cert(cert), key(cert.substr(0, cert.rfind('.')) + ".key"), authority(cert.substr(0, cert.rfind('/') + 1) + "ca.pem") {
    std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(cert.c_str(), "r"), BIO_free);
    std::unique_ptr<X509, decltype(&X509_free)> leaf(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr), X509_free);
    if (!leaf) throw std::runtime_error("no certificate in " + cert);
    auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf.get(), NID_subject_alt_name, nullptr, nullptr));
    for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
      const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
      if (name->type != GEN_URI) continue;
      // spiffe://souk.internal/ROLE/UUID
      std::string id(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier)));
      party_id = id.substr(id.rfind('/') + 1);
      id.resize(id.rfind('/'));
      role = id.substr(id.rfind('/') + 1);
    }
    GENERAL_NAMES_free(names);
  }

  std::shared_ptr<grpc::ChannelCredentials> Client() const {
    return grpc::SslCredentials({ReadFile(authority), ReadFile(key), ReadFile(cert)});
  }

  // For a callback server, which accepts only certificates of the authority. The files are read again when they change.
  std::shared_ptr<grpc::ServerCredentials> Server() const {
    using namespace grpc::experimental;
    TlsServerCredentialsOptions options(std::make_shared<FileWatcherCertificateProvider>(key, cert, authority, 1));
    options.watch_root_certs();
    options.watch_identity_key_cert_pairs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    return TlsServerCredentials(options);
  }

  // Changes when the certificate is replaced.
  long long Stamp() const {
    struct stat status {};
    stat(cert.c_str(), &status);
    return status.st_mtim.tv_sec * 1'000'000'000LL + status.st_mtim.tv_nsec;
  }

  std::string cert, key, authority, role, party_id;
};

inline double Jitter() {
  thread_local std::mt19937 source{std::random_device{}()};
  return std::uniform_real_distribution<>(0, 1)(source);
}

// What a failed call says: the market's reason, and how long to wait.
struct Failure {
  explicit Failure(const grpc::Status& status) {
    google::rpc::Status details;
    details.ParseFromString(status.error_details());
    for (const auto& detail : details.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::RetryInfo retry;
      if (detail.UnpackTo(&info) && info.domain() == "shopping.v1") reason = info.reason();
      if (detail.UnpackTo(&retry)) {
        retry_after = seconds(retry.retry_delay().seconds()) + milliseconds(retry.retry_delay().nanos() / 1'000'000);
      }
    }
  }
  std::string reason;
  std::optional<milliseconds> retry_after;
};

// Returns how long to wait after so many failures: a random time in the upper half of a doubling interval, or the wait
// that the market requested and a random part of up to half of it.
inline milliseconds Wait(int failures, std::optional<milliseconds> requested) {
  if (requested) {
    return *requested + milliseconds(static_cast<long>(std::max(*requested / 2, kFirstDelay).count() * Jitter()));
  }
  const auto whole = std::min(kFirstDelay * (1 << (failures - 1)), kMaxDelay);
  return milliseconds(static_cast<long>(whole.count() * (0.5 + Jitter() / 2)));
}

// A connection to a market.
class Souk {
 public:
  Souk(const std::string& cert, std::string market) : credentials(cert), market_(std::move(market)) {}

  // Returns the channel for the generated stubs: v1::SellerService::NewStub(souk.Channel()). After the certificate was
  // renewed it is a new one; streams go on over the earlier one.
  std::shared_ptr<grpc::Channel> Channel() {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto stamp = credentials.Stamp();
    if (!channel_ || stamp != stamp_) {
      grpc::ChannelArguments arguments;
      // The market is verified by its identity, independent of its address.
      arguments.SetSslTargetNameOverride(kMarket);
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
      arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
      channel_ = grpc::CreateCustomChannel(market_, credentials.Client(), arguments);
      stamp_ = stamp;
      // A token is bound to the certificate with which it was fetched.
      renew_at_ = {};
    }
    return channel_;
  }

  // Prepares a call: the account's UUID and, unless it is one of AccountService, a token.
  std::unique_ptr<grpc::ClientContext> Context(bool with_token = true, std::optional<Clock::time_point> deadline = {}) {
    auto context = std::make_unique<grpc::ClientContext>();
    context->AddMetadata("x-party-id", credentials.party_id);
    if (with_token) context->AddMetadata("authorization", "Bearer " + Token());
    if (deadline) context->set_deadline(*deadline);
    return context;
  }

  // Makes a unary call, with a deadline, and repeats what may be repeated: docs/protocol.md, "Which errors to repeat".
  void Call(const std::function<grpc::Status(grpc::ClientContext*)>& call, bool with_token = true) {
    const auto deadline = Clock::now() + kTimeout;
    bool is_replayed = false;
    for (int attempt = 1;; ++attempt) {
      const auto status = call(Context(with_token, deadline).get());
      if (status.ok()) return;
      const Failure failure(status);
      if (failure.reason.rfind("TOKEN_", 0) == 0 && !is_replayed) {
        is_replayed = true;
        DropToken();
        continue;
      }
      const auto wait = Wait(attempt, failure.retry_after);
      const bool may_repeat = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                              (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && failure.retry_after);
      if (!may_repeat || attempt == kMaxAttempts || Clock::now() + wait >= deadline) Fail(status);
      std::this_thread::sleep_for(wait);
    }
  }

  [[noreturn]] static void Fail(const grpc::Status& status) {
    throw std::runtime_error(std::to_string(status.error_code()) + " " + status.error_message() + " " + Failure(status).reason);
  }

  const Credentials credentials;

 private:
  // Calls that need a token at the same time share one IssueToken.
  std::string Token() {
    Channel();  // drops the token if the certificate was renewed
    std::unique_lock<std::mutex> lock(mutex_);
    if (Clock::now() < renew_at_) return token_;
    if (!fetch_.valid()) fetch_ = std::async(std::launch::async, [this] { return Fetch(); }).share();
    auto fetch = fetch_;
    lock.unlock();
    return fetch.get();  // Fetch has a deadline
  }

  std::string Fetch() {
    const auto asked = Clock::now();
    v1::IssueTokenResponse issued;
    grpc::Status status =
        v1::AccountService::NewStub(Channel())->IssueToken(Context(false, asked + kTimeout).get(), {}, &issued);
    std::lock_guard<std::mutex> lock(mutex_);
    fetch_ = {};
    if (!status.ok()) Fail(status);
    const auto life = seconds(issued.expire_time().seconds() - issued.issue_time().seconds());
    // Between two thirds and three quarters of its life, so that clients do not renew in step.
    renew_at_ = asked + milliseconds(static_cast<long>(milliseconds(life).count() * (2.0 / 3 + Jitter() / 12)));
    return token_ = issued.access_token();
  }

  void DropToken() {
    std::lock_guard<std::mutex> lock(mutex_);
    renew_at_ = {};
  }

  const std::string market_;
  std::mutex mutex_;
  std::shared_ptr<grpc::Channel> channel_;
  long long stamp_ = 0;
  std::string token_;
  Clock::time_point renew_at_;
  std::shared_future<std::string> fetch_;
};

// A callback server, which only the market may call. It passes each event to `take` once, one at a time, and
// acknowledges it when `take` returns.
class Inbox final : public v1::NotificationService::Service {
 public:
  Inbox(const Credentials& credentials, std::function<void(const v1::Event&)> take)
      : party_id_(credentials.party_id), take_(std::move(take)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials.Server(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (!server_) throw std::runtime_error("the callback server can't listen");
  }

  ~Inbox() override { server_->Shutdown(Clock::now() + seconds(1)); }

  grpc::Status NotifyClient(grpc::ServerContext* context, const v1::NotifyClientRequest* request,
                            v1::NotifyClientResponse* answer) override {
    const auto names = context->auth_context()->FindPropertyValues("x509_subject_alternative_name");
    const bool is_market = std::any_of(names.begin(), names.end(), [](const grpc::string_ref& name) {
      return name.starts_with("spiffe://") && name.ends_with("/market");
    });
    if (!is_market) return {grpc::StatusCode::PERMISSION_DENIED, "only the market may call a callback"};
    if (request->recipient_id() != party_id_) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "these events are for somebody else"};
    }
    // A delivery that is repeated while the first is being processed waits for it, and then finds its events here.
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& event : request->events()) {
      if (seen_.insert(event.event_id()).second) {
        take_(event);
        oldest_.push_back(event.event_id());
        if (oldest_.size() > kRemembered) {
          seen_.erase(oldest_.front());
          oldest_.pop_front();
        }
      }
      answer->set_acknowledged_sequence(event.sequence());
    }
    return grpc::Status::OK;
  }

  int port = 0;

 private:
  const std::string party_id_;
  const std::function<void(const v1::Event&)> take_;
  std::mutex mutex_;
  std::set<std::string> seen_;
  std::deque<std::string> oldest_;
  std::unique_ptr<grpc::Server> server_;
};

// Returns a new request id, a UUIDv4. A call that is retried with the same id takes effect once.
inline std::string NewRequestId() {
  std::random_device source;
  char text[37];
  std::snprintf(text, sizeof text, "%08x-%04x-4%03x-%04x-%08x%04x", source(), source() & 0xffff, source() & 0xfff,
                (source() & 0x3fff) | 0x8000, source(), source() & 0xffff);
  return text;
}

}  // namespace souk
