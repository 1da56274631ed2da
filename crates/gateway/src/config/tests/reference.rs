//! `docs/configuration.md`.
