// What S3 answers in XML, read from bytes that may be anything, and what its refusals mean in our terms.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "http/client.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

/// One page of ListObjectsV2.
struct S3Page {
  std::vector<BlobInfo> objects;        ///< whole keys
  std::vector<std::string> prefixes;    ///< of a listing with a delimiter
  std::string next;                     ///< the continuation token; empty: the last page
};
/// @errors Storage (no such document: cut short, or something between us and the store answered)
Result<S3Page> parse_s3_page(ByteView xml);

/// A time as S3 writes it: three, or nine, digits behind the second, or none. What is finer than a microsecond is cut off.
std::optional<TimePoint> parse_s3_time(std::string_view text);

/// An etag as listings and answers write it, without its quotes, and no longer than one is.
std::string s3_etag(std::string_view text);

/// The keys that DeleteObjects could not remove, as "key: Code".
Result<std::vector<std::string>> parse_s3_deletions(ByteView xml);

/// The `Code` of an error document, "" when there is none.
std::string s3_error_code(const http::Answer& answer);

/// Only this is an absent object: another 404 may mean the bucket.
bool is_absent_object(const http::Answer& answer);

/// An answer that is no success, as an Error. `may_have_written`: the request was one that writes, and 5xx leaves open what became of it.
/// @param what  "create c/1/log/2", for the message
Error s3_error(const http::Answer& answer, const std::string& what, bool may_have_written);

/// For an element's text.
std::string xml_escaped(std::string_view text);

/// N of "bytes a-b/N", as a Content-Range has it.
std::optional<std::uint64_t> size_in_range(std::string_view range);

/// Whether it is a document with that root.
bool is_s3_document(ByteView xml, const char* root);
/// The text of `name` in a document whose root is `root`; nullopt: it is no such document, or has no such text.
std::optional<std::string> s3_element(ByteView xml, const char* root, const char* name);

/// "Thu, 26 Nov 2026 23:59:59 GMT", as in a Date header.
std::optional<TimePoint> parse_http_date(std::string_view text);

}  // namespace pgmint::storage
