// Repeats what may be repeated, and finds out what became of what may not.
#pragma once

#include <memory>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/random.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

struct RetryPolicy {
  int attempts_max = 8;  ///< of one operation, the first included
  std::chrono::microseconds first_delay = std::chrono::milliseconds(100);
  std::chrono::microseconds delay_max = std::chrono::seconds(10);  ///< delays double up to here; each is drawn from [d/2, d]
};

/// Repeats reads, listings and removals after transient errors (is_transient); a listing goes on behind the last object that
/// was visited, and a visitor's own failure is never repeated.
///
/// A create is never sent again blindly. After Storage or Unknown the name is read back: the same bytes, Created::Yes; other
/// bytes, AlreadyExists; absent, sent once more. Busy means refused, and is sent again after the delay. An AlreadyExists that follows an uncertain attempt is compared too, since
/// that attempt may have landed late. So two creators of one name must not write the same bytes where it matters who won:
/// log entries carry a nonce. When the attempts are used up: Unknown, unless each of them said Storage.
///
/// Once an operation's attempts were all in vain the store counts as away: the next operations have one attempt each, until one is answered. So a
/// command over a store that is gone does not wait anew for each thing that it tidies up.
///
/// Presence has to mean durability in the inner store; the POSIX store refuses to show a name of which that is not known.
/// Borrows clock, random and cancel (may be null). Thread-safe where those are.
std::unique_ptr<BlobStore> make_retry_store(std::unique_ptr<BlobStore> inner, RetryPolicy policy, Clock& clock,
                                            RandomSource& random, const CancelToken* cancel = nullptr);

}  // namespace pgmint::storage
