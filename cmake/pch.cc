// Exists so that a target can own the precompiled headers.
