#include "storage/s3_upload.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/units.h"
#include "storage/attempts.h"
#include "storage/s3_answer.h"

namespace pgmint::storage {
namespace {

constexpr std::uint64_t kExplanationMax = 64 << 10;
constexpr std::uint64_t kReadPiece = 8 << 20;
constexpr std::uint64_t kPartUsual = 64 << 20;
constexpr std::uint64_t kPartsMax = 10'000;  ///< S3's limit
constexpr std::size_t kNameMax = 1024;       ///< of an ETag or an upload: what a service may make us keep
constexpr int kDropAttempts = 3;

std::uint64_t part_size(std::uint64_t size, ByteCount parts_above) {
  const auto usual = std::clamp(parts_above.value(), kS3PartMin.value(), kPartUsual);
  return std::max(usual, (size + kPartsMax - 1) / kPartsMax);
}

/// Goes into an element's text as it is.
bool is_plain(std::string_view text) {
  return !text.empty() && text.size() <= kNameMax && std::ranges::none_of(text, [](char c) { return c < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x7f; });
}

}  // namespace

struct S3Upload::Part {
  const std::string& key;
  const std::string& id;
  std::uint64_t number = 0;  ///< from 1
};

Result<std::unique_ptr<S3Upload>> S3Upload::open(S3UploadOptions options, std::unique_ptr<http::Client> client, std::unique_ptr<http::AwsCredentialSource> credentials,
                                                 Clock& clock, RandomSource& random, const CancelToken* cancel) {
  auto address = TRY(S3Address::parse(options.bucket.url, options.bucket.endpoint, options.bucket.region, options.bucket.path_style));
  return std::unique_ptr<S3Upload>(new S3Upload(std::move(options), std::move(address), std::move(client), std::move(credentials), clock, random, cancel));
}

S3Upload::S3Upload(S3UploadOptions options, S3Address address, std::unique_ptr<http::Client> client, std::unique_ptr<http::AwsCredentialSource> credentials, Clock& clock,
                   RandomSource& random, const CancelToken* cancel)
    : options_(std::move(options)), address_(std::move(address)), session_(options_.bucket.region, address_.describe(), std::move(client), std::move(credentials), clock),
      clock_(clock), random_(random), cancel_(cancel) {}

Attempts S3Upload::attempts() { return {options_.patience, clock_, random_, cancel_, trouble_}; }

http::Request S3Upload::request_for(std::string method, const std::string& key, std::string_view query) const {
  http::Request request;
  request.method = std::move(method);
  request.url = address_.object_url(key);
  if (!query.empty()) request.url += fmt::format("?{}", query);
  request.answer_max = kExplanationMax;
  return request;
}

void S3Upload::note_unguarded() {
  if (conditional_)
    log_warning("{} has no conditional creation (If-None-Match): it was looked before the object was written, and nothing guarded against another writer in between", address_.describe());
  conditional_ = false;
}

Error S3Upload::refusal(const http::Answer& answer, const std::string& what) const {
  auto error = s3_error(answer, what, true);
  const auto& bucket = options_.bucket;
  const auto code = s3_error_code(answer);
  const auto asked = fmt::format("storage class {}, encryption by the store {}", bucket.storage_class.empty() ? "as the bucket has it" : bucket.storage_class,
                                 bucket.encryption.empty() ? "as the bucket says" : bucket.encryption + (bucket.kms_key_id.empty() ? ", no key named" : ", key " + bucket.kms_key_id));
  if (answer.status == 501 || code == "InvalidArgument" || code == "InvalidStorageClass" || code == "InvalidRequest")
    return std::move(error).with_code(Errc::Configuration).with_hint(Hint{fmt::format("it was asked for {}: --sse, --kms-key-id, and storage_class in [export.s3] ask for others", asked)});
  if (bucket.encryption == "aws:kms" && (error.code() == Errc::Key || code.starts_with("KMS.")))
    return std::move(error).with_code(Errc::Key).with_hint(
        Hint{fmt::format("s3:PutObject is needed, and of the key kms:GenerateDataKey and kms:Decrypt; it was asked for {}: --sse and --kms-key-id ask for another", asked)});
  return error;
}

Result<std::optional<S3Upload::Front>> S3Upload::ask_front(const std::string& key, std::size_t length) {
  const auto what = fmt::format("look for {}", url_of(key));
  auto request = request_for("GET", key);
  request.headers.push_back({"range", fmt::format("bytes=0-{}", length - 1)});
  request.answer_max = std::max<std::uint64_t>(kExplanationMax, length);
  auto answer = TRY(session_.fetch(request, what));
  if (is_absent_object(answer)) return std::optional<Front>();
  Front found;
  found.encryption = answer.header("x-amz-server-side-encryption").value_or("");
  if (answer.status == 416) return std::optional(std::move(found));  // an empty object has no first byte
  if (answer.status != 206) return s3_error(answer, what, false);
  const auto range = answer.header("content-range");
  const auto size = range && range->starts_with("bytes 0-") ? size_in_range(*range) : std::nullopt;
  if (!size || answer.body.size() != std::min<std::uint64_t>(length, *size)) return Error(Errc::Storage, fmt::format("{}: the store does not say how long the object is", what));
  found.size = *size;
  found.bytes = std::move(answer.body);
  return std::optional(std::move(found));
}

Result<std::optional<S3Upload::Front>> S3Upload::front(const std::string& key, std::size_t length) {
  PGMINT_ASSERT(length > 0);
  return repeated(attempts(), [&] { return ask_front(key, length); });
}

Status S3Upload::read(const std::string& key, std::uint64_t size, const std::function<Status(ByteView)>& visit) {
  Bytes room(std::min(size, kReadPiece));
  const auto what = fmt::format("read {}", url_of(key));
  for (std::uint64_t at = 0; at < size;) {
    const auto piece = MutableByteView(room).first(std::min(size - at, kReadPiece));
    auto request = request_for("GET", key);
    request.headers.push_back({"range", fmt::format("bytes={}-{}", at, at + piece.size() - 1)});
    request.into = piece;
    TRY(repeated(attempts(), [&]() -> Status {
      const auto answer = TRY(session_.fetch(request, what));
      if (is_absent_object(answer)) return Error(Errc::Corruption, fmt::format("{}: it is not there any more", what));
      if (answer.status != 206 && answer.status != 416) return s3_error(answer, what, false);
      const auto range = answer.header("content-range");
      if (!range || size_in_range(*range) != size) return Error(Errc::Corruption, fmt::format("{}: it has not the {} bytes that it had", what, size));
      if (!range->starts_with(fmt::format("bytes {}-", at)) || answer.size != piece.size())
        return Error(Errc::Storage, fmt::format("{}: the store answered with another range than was asked for", what));
      return ok();
    }));
    TRY(visit(piece));
    at += piece.size();
  }
  return ok();
}

Result<Created> S3Upload::put(const std::string& key, ByteView data) {
  const auto what = fmt::format("create {}", url_of(key));
  for (bool conditional = conditional_;; conditional = false) {
    auto request = request_for("PUT", key);
    request.body = data;
    if (conditional)
      request.headers.push_back({"if-none-match", "*"});
    else if (TRY(ask_front(key, 1)))
      return Created::AlreadyExists;
    request.headers.push_back({"content-type", "application/octet-stream"});
    for (auto& header : s3_keeping(options_.bucket)) request.headers.push_back(std::move(header));
    const auto answer = TRY(session_.send(request).context(what));
    if (answer.status == 412) return Created::AlreadyExists;
    if (answer.success()) {
      if (!conditional) note_unguarded();
      return Created::Yes;
    }
    if (answer.status != 501 || !conditional) return refusal(answer, what);
  }
}

Result<Created> S3Upload::put_whole(const std::string& key, ByteView data) {
  auto tries = attempts();
  for (;;) {
    auto created = put(key, data);
    if (created) {
      tries.answered();
      return created;
    }
    if (!is_transient(created.failure().code())) return created;
    // Busy is a refusal. Whatever else went wrong, it may be there all the same.
    if (created.failure().code() != Errc::Busy) {
      const auto found = front(key, 1);
      if (!found) return created;
      if (*found) return Created::AlreadyExists;
    }
    if (!tries.left_after(created.failure())) return created;
    TRY(tries.wait(created.failure()));
  }
}

Result<std::string> S3Upload::begin_parts(const std::string& key) {
  const auto what = fmt::format("begin {} in parts", url_of(key));
  auto request = request_for("POST", key, "uploads=");
  request.headers.push_back({"content-type", "application/octet-stream"});
  for (auto& header : s3_keeping(options_.bucket)) request.headers.push_back(std::move(header));
  request.to_the_end = true;
  // One that was begun and whose answer was lost on the way has no parts, and becomes nothing.
  return repeated(attempts(), [&]() -> Result<std::string> {
    const auto answer = TRY(session_.send(request).context(what));
    if (!answer.success()) return refusal(answer, what);
    auto id = s3_element(answer.body, "InitiateMultipartUploadResult", "UploadId");
    if (!id || id->size() > kNameMax) return Error(Errc::Unknown, fmt::format("{}: the store does not say what it is called", what));
    return std::move(*id);
  });
}

Result<std::string> S3Upload::put_part(const Part& part, ByteView data) {
  const auto what = fmt::format("send part {} of {}", part.number, url_of(part.key));
  auto request = request_for("PUT", part.key, fmt::format("partNumber={}&uploadId={}", part.number, http::percent_encoded(part.id)));
  request.body = data;
  // A part may be sent again: the same bytes take the place of what may be there.
  return repeated(attempts(), [&]() -> Result<std::string> {
    const auto answer = TRY(session_.send(request).context(what));
    if (!answer.success()) return s3_error(answer, what, true);
    const auto etag = answer.header("etag");
    if (!etag || !is_plain(*etag)) return Error(Errc::Unknown, fmt::format("{}: the store does not say what it has taken", what));
    return std::string(*etag);
  });
}

Result<Created> S3Upload::join_once(const std::string& key, const std::string& id, std::string_view list) {
  const auto what = fmt::format("put the parts of {} together", url_of(key));
  for (bool conditional = conditional_;; conditional = false) {
    auto request = request_for("POST", key, fmt::format("uploadId={}", http::percent_encoded(id)));
    request.body = as_bytes(list);
    request.headers.push_back({"content-type", "application/xml"});
    if (conditional)
      request.headers.push_back({"if-none-match", "*"});
    else if (TRY(ask_front(key, 1)))
      return Created::AlreadyExists;
    auto answer = TRY(session_.send(request).context(what));
    if (answer.status == 412) return Created::AlreadyExists;
    if (answer.success() && is_s3_document(answer.body, "CompleteMultipartUploadResult")) {
      if (!conditional) note_unguarded();
      condition_unproven_ = !options_.bucket.endpoint.empty();
      return Created::Yes;
    }
    // S3 begins its answer before it has finished, so that 200 may stand above a refusal.
    if (answer.success()) answer.status = 500;
    if (answer.status != 501 || !conditional) return refusal(answer, what);
  }
}

Result<Created> S3Upload::join_parts(const std::string& key, const std::string& id, std::string_view list) {
  auto tries = attempts();
  for (;;) {
    auto created = join_once(key, id, list);
    if (created) {
      tries.answered();
      return created;
    }
    const bool transient = is_transient(created.failure().code());
    // After an answer that was lost the upload is gone because the object is there, which the answer to the second request cannot say.
    const auto found = front(key, 1);
    if (found && *found) return Created::AlreadyExists;
    if (!found || !transient || !tries.left_after(created.failure())) return created;
    TRY(tries.wait(created.failure()));
  }
}

void S3Upload::drop_parts(const std::string& key, const std::string& id) {
  RetryPolicy brief = options_.patience;
  brief.attempts_max = kDropAttempts;
  // Also after Ctrl-C, and when the store seemed away: what is left costs money and is not listed.
  StoreTrouble own;
  const auto dropped = repeated(Attempts(brief, clock_, random_, nullptr, own), [&]() -> Status {
    const auto answer = TRY(session_.send(request_for("DELETE", key, fmt::format("uploadId={}", http::percent_encoded(id)))));
    if (answer.success() || answer.status == 404) return ok();
    return s3_error(answer, "remove parts", true);
  });
  if (!dropped)
    log_warning("parts of {} stay in the bucket, unseen and paid for, until a lifecycle rule (AbortIncompleteMultipartUpload) or `aws s3api abort-multipart-upload` removes them: {}",
                url_of(key), dropped.failure().describe());
}

Result<Created> S3Upload::put_parts(const std::string& key, ByteView data, const std::function<void(std::uint64_t)>& progress) {
  const auto id = TRY(begin_parts(key));
  auto created = [&]() -> Result<Created> {
    const auto size = part_size(data.size(), options_.parts_above);
    std::string list = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
    for (std::uint64_t at = 0, number = 1; at < data.size(); at += size, ++number) {
      if (cancel_ != nullptr) TRY(cancel_->check());
      const auto part = data.subspan(at, std::min(size, data.size() - at));
      const auto etag = TRY(put_part({key, id, number}, part));
      list += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", number, etag);
      if (progress) progress(at + part.size());
    }
    // RGW 16 passes over the condition here, and parts take minutes in which somebody may have come: what is left of that is the time of one request.
    if (TRY(front(key, 1))) return Created::AlreadyExists;
    return join_parts(key, id, list + "</CompleteMultipartUpload>");
  }();
  if (!created || *created != Created::Yes) drop_parts(key, id);
  return created;
}

Result<Created> S3Upload::create(const std::string& key, ByteView data, const std::function<void(std::uint64_t)>& progress) {
  PGMINT_ASSERT(!data.empty());
  if (data.size() > kS3ObjectMax.value())
    return Error(Errc::ResourceLimit, fmt::format("{} would have {}, and S3 takes {} at most", url_of(key), human(ByteCount(data.size())), human(kS3ObjectMax)),
                 Hint{"export it to a folder: --to DIR"});
  if (data.size() > options_.parts_above.value()) return put_parts(key, data, progress);
  return put_whole(key, data);
}

}  // namespace pgmint::storage
