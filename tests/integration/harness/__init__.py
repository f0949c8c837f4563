"""What the integration tests stand on: servers, the binary, faults. Knows nothing of a single test."""
