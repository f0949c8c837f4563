#include "cli/export_keys.h"

#include <fmt/format.h>

#include "base/units.h"
#include "cli/s3_keys.h"
#include "storage/s3_upload.h"

namespace pgmint::cli {

const std::vector<Key<ExportSettings>>& export_keys() {
  using T = ExportSettings;
  static const std::vector<Key<T>> keys = {
      {"parts_above", "size",
       "A file for a bucket that is longer goes in parts, of which one that a bad line breaks is sent again alone: \"5MiB\" to \"5GiB\", which is the default and what S3 takes "
       "with one request.",
       [](T& t, const Value& v) -> Status {
         const auto size = parse_size(TRY(v.text()));
         if (!size) return v.wrong(fmt::format("is wrong: {}", size.error().message()));
         if (size->value() < storage::kS3PartMin.value() || size->value() > storage::kS3PutMax.value()) return v.wrong("must be from 5MiB to 5GiB");
         t.parts_above = *size;
         return ok();
       }},
      {"s3", "table", "", [](T& t, const Value& v) { return read_s3(t.s3, v, "[export.s3]"); }},
  };
  return keys;
}

}  // namespace pgmint::cli
