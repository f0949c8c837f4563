// Prometheus' text exposition format 0.0.4. Pure: values in, text out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file.h"

namespace pgmint::service {

using Labels = std::vector<std::pair<std::string_view, std::string>>;

/// Gathers families and their samples. Names are ours and asserted on; values of labels are anybody's and escaped, bytes that
/// are not UTF-8 replaced.
class MetricsText {
 public:
  /// Begins a family of gauges, or goes on with it; a family without a sample is left out.
  void family(std::string_view name, std::string_view help);
  /// One sample of the family last begun.
  void sample(const Labels& labels, double value);
  void sample(const Labels& labels, TimePoint time);  ///< seconds since the epoch
  /// In each sample from here on, before its own labels.
  void set_common(std::vector<std::pair<std::string, std::string>> labels) { common_ = std::move(labels); }
  /// What `other` holds, behind what this holds.
  void add(const MetricsText& other);
  std::string text() const;

 private:
  struct Family {
    std::string name, help, samples;
  };
  std::vector<Family> families_;
  std::size_t at_ = 0;  ///< of the family last begun
  std::vector<std::pair<std::string, std::string>> common_;
};

/// Puts `text` where node_exporter's textfile collector reads it: whole or not at all, readable for everybody.
/// @errors Usage (the collector reads only *.prom), Key, Io
Status write_textfile(const fs::path& file, std::string_view text);

}  // namespace pgmint::service
