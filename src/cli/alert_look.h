// What alerts are about: everything that status and doctor complain of, and commands whose last run failed.
#pragma once

#include "cli/context.h"
#include "service/alert_book.h"
#include "service/alert_store.h"
#include "service/channel.h"

namespace pgmint::cli {

/// A repository that cannot be read is a finding, and what it would tell is unknown. @errors Configuration, Cancelled
Result<service::Look> look_at_everything(Context& context);

/// Where what was told is kept on this host. @errors Configuration
Result<service::AlertStore> alert_store(Context& context);

/// For those who only read: what the last check found, be it this user's or, for root, the service's, whichever is newer.
/// @param unreadable  what load() names @errors Configuration
Result<service::AlertBook> newest_alert_book(Context& context, std::vector<std::string>* unreadable);
Error alert_book_unreadable(const std::vector<std::string>& unreadable);

/// @errors Configuration: none is configured, or none of that name
Result<std::vector<const service::Channel*>> alert_channels(Context& context, const std::optional<std::string>& name);

}  // namespace pgmint::cli
